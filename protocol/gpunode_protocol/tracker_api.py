"""REST paths and bodies of the tracker, shared by tracker, node and SDK. Bytes travel as URL-safe base64 in JSON."""

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Field

from gpunode_protocol.errors import AnswerFault
from gpunode_protocol.ledger_entries import LedgerEntry
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.signing import Envelope, SignedBody, WireModel
from gpunode_protocol.validation import (
    Count,
    Digest,
    JobId,
    Latitude,
    Longitude,
    Name,
    NetworkId,
    PeerIdField,
    RegionField,
    SegmentNumber,
    TaskField,
    UnixSeconds,
)

API = "/api/v1"
NETWORK_PATH = f"{API}/network"
CHALLENGE_PATH = f"{API}/nodes/challenge"
REGISTER_PATH = f"{API}/nodes/register"
NODES_PATH = f"{API}/nodes"
HEARTBEAT_PATH = f"{API}/nodes/{{peer}}/heartbeat"
NODE_PATH = f"{API}/nodes/{{peer}}"
NODE_BALANCE_PATH = f"{API}/nodes/{{peer}}/balance"
LINK_PATH = f"{API}/nodes/{{peer}}/link"
REGIONS_PATH = f"{API}/regions"
ACCOUNTS_PATH = f"{API}/accounts"
OWN_NODES_PATH = f"{API}/accounts/self/nodes"
GRANTS_PATH = f"{API}/grants"
SETTLEMENTS_PATH = f"{API}/settlements"
REPORTS_PATH = f"{API}/reports"
BALANCE_PATH = f"{API}/ledger/balance"
ENTRIES_PATH = f"{API}/ledger/entries"
HEAD_PATH = f"{API}/ledger/head"
LEAVES_PATH = f"{API}/ledger/leaves"
CONSISTENCY_PATH = f"{API}/ledger/consistency"
RESTORATIONS_PATH = f"{API}/ledger/restorations"
RECEIPT_PATH = f"{API}/ledger/receipts/{{receipt}}"
JWKS_PATH = "/.well-known/jwks.json"
HEALTH_PATH = "/healthz"
READY_PATH = "/readyz"

HEARTBEAT_INTERVAL_S = 60
HEARTBEATS_MISSED = 2
"""A node is off the index after this many missed heartbeats (its adverts expire on their own at 150 s)."""
MAX_BATCH_ITEMS = 1_000
MAX_ROUND_TRIPS = 16
"""Measured round trips in one heartbeat: three rounds of probes, 5 minutes apart: 10 minutes without one lose none."""
MAX_RTT_MS = 60_000
MAX_DOUBTFUL_PLACES = 256
"""Nodes whose place is told to be doubtful, those that most accounts contradict."""


class Problem(WireModel):
    """An error body, RFC 9457 ``application/problem+json``; ``detail`` says what happened and what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    code: str = ""


class NetworkInfo(WireModel):
    """What a newcomer needs: keys, bootstrap addresses, shard bits, prices, default models.

    time: the tracker's clock, Unix seconds. previous_shard_bits: still written and read for 5 min after a change.
    countries: of a large region, those (two small letters) that have DHT topics of their own.
    doubtful_places: nodes whose stated place contradicts round trips that others measured; see ``doubts``.
    """

    network: NetworkId
    root_public_key: Digest
    keyset: Envelope
    revocations: Envelope
    bootstrap: tuple[str, ...]
    shard_bits: Annotated[int, Ge(0), Le(16)]
    previous_shard_bits: Annotated[int, Ge(0), Le(16)] | None = None
    countries: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    prices: PriceTable
    default_models: dict[str, str]
    doubtful_places: Annotated[tuple[PeerIdField, ...], MaxLen(MAX_DOUBTFUL_PLACES)] = ()
    time: UnixSeconds


class ChallengeReply(WireModel):
    """Sign it inside a ``Registration`` or ``Link`` before ``expires_at``; it works once."""

    challenge: Annotated[bytes, MinLen(16), MaxLen(64)]
    expires_at: UnixSeconds


class Registration(SignedBody):
    """A node's proof that it has its key, signed with it."""

    signature_type: ClassVar[str] = "registration"

    network: NetworkId
    peer: PeerIdField
    challenge: Annotated[bytes, MinLen(16), MaxLen(64)]
    name: Annotated[str, MaxLen(100)] = ""
    region: RegionField | None = None
    country: Annotated[str, MaxLen(2)] = ""
    gpu_model: Annotated[str, MaxLen(100)] = ""
    gpu_memory_mb: Count = 0
    supported_tasks: Annotated[tuple[TaskField, ...], MaxLen(16)] = ()


class RegisterRequest(WireModel):
    """Body of ``POST /api/v1/nodes/register``."""

    registration: Envelope


class SeenPlace(WireModel):
    """Where an address seems to be. country: two capital letters, or empty.

    latitude, longitude: whole degrees, None = unknown. accuracy_km: radius that the database allows for.
    """

    region: RegionField | None = None
    country: Annotated[str, MaxLen(2)] = ""
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    accuracy_km: Count | None = None


class RegisterReply(WireModel):
    """token: for ``X-Worker-Token``, shown once. region: as given, or by GeoIP; None when unknown.

    seen: what GeoIP says of the node's address, None when nothing is known of it.
    """

    node_id: PeerIdField
    token: str
    certificate: Envelope
    revocations: Envelope
    region: RegionField | None = None
    seen: SeenPlace | None = None


class RoundTrip(WireModel):
    """What a node measured by a probe to another one that it reached without a relay.

    rtt_ms: rounded up. region, latitude, longitude: where the other one's advert said that it is.
    """

    peer: PeerIdField
    rtt_ms: Annotated[int, Ge(0), Le(MAX_RTT_MS)]
    region: RegionField
    latitude: Latitude | None = None
    longitude: Longitude | None = None


class HeartbeatRequest(WireModel):
    """status: offline = draining, take me off the index. adverts: the newest of each model.

    round_trips: the newest that this node measured; the tracker judges by them what others say of their place.
    """

    status: Literal["online", "busy", "offline"]
    adverts: Annotated[tuple[Envelope, ...], MaxLen(8)] = ()
    memory_used_mb: Count = 0
    memory_total_mb: Count = 0
    round_trips: Annotated[tuple[RoundTrip, ...], MaxLen(MAX_ROUND_TRIPS)] = ()


class HeartbeatReply(WireModel):
    """certificate: a fresh one when the old is past half its life. head: the ledger's, for consistency checks.

    adverts_refused: why adverts of this heartbeat were not listed; empty when all were. place_doubtful: this node is
    among ``doubtful_places``.
    """

    revocations: Envelope
    keyset: Envelope
    certificate: Envelope | None = None
    bootstrap: tuple[str, ...]
    shard_bits: Annotated[int, Ge(0), Le(16)]
    previous_shard_bits: Annotated[int, Ge(0), Le(16)] | None = None
    countries: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    head: Envelope | None = None
    adverts_refused: tuple[str, ...] = ()
    place_doubtful: bool = False
    time: UnixSeconds


class NodesReply(WireModel):
    """index: a signed ``NodeIndex``."""

    index: Envelope


class RegionCount(WireModel):
    """Live nodes and models of a region; ``workers``: pull workers there, which take queued jobs only.

    latitude, longitude: its reference point (``geography``), whole degrees. distances_km: from there to each region's.
    """

    region: RegionField
    nodes: Count
    models: dict[str, int]
    workers: Count = 0
    latitude: Latitude
    longitude: Longitude
    distances_km: dict[str, Count]


class CallerPlace(SeenPlace):
    """Where the address of whoever asks seems to be.

    distances_km: to each region's reference point; empty without coordinates.
    """

    distances_km: dict[str, Count] = Field(default_factory=dict)


class RegionsReply(WireModel):
    """All five regions, in a fixed order.

    caller: None when nothing is known of the address; ``caller_unknown`` then says why. geoip_built_at: when the
    database that was asked was made; None without one.
    """

    regions: tuple[RegionCount, ...]
    caller: CallerPlace | None = None
    caller_unknown: Literal["no_public_address", "not_in_database", "no_database"] | None = None
    geoip_built_at: UnixSeconds | None = None


class AccountRequest(WireModel):
    """Body of ``POST /api/v1/accounts``, which works only where the operator allows open registration."""

    name: Annotated[str, MinLen(1), MaxLen(100)]


class AccountReply(WireModel):
    """A new account, always a promotional one; ``api_key`` is shown once."""

    account: str
    api_key: str
    spendable_microcredits: Count
    promotional: bool = True


class OwnNodesReply(WireModel):
    """The nodes that are linked to the asking account, without those that were shut out."""

    nodes: tuple[PeerIdField, ...]


class GrantRequest(WireModel):
    """peer: the client's key, to which the grant is bound. Either ``open_microcredits`` or ``nodes`` (named caps)."""

    peer: PeerIdField
    tasks: Annotated[tuple[TaskField, ...], MinLen(1), MaxLen(8)]
    open_microcredits: Count | None = None
    nodes: Annotated[dict[PeerIdField, Count], MaxLen(16)] | None = None
    jobs: Annotated[int, Ge(1), Le(1_000)] = 16
    priority: Annotated[int, Ge(0), Le(9)] = 0
    lifetime_s: Annotated[int, Ge(60), Le(3600)] = 3600


class GrantReply(WireModel):
    """The grant and what was reserved for it."""

    grant: str
    jti: Name
    expires_at: UnixSeconds
    reserved_microcredits: Count


class SettlementItem(WireModel):
    """A voucher, with the node's receipt when the job came to its end."""

    voucher: Envelope
    receipt: Envelope | None = None


class SettlementBatch(WireModel):
    """Body of ``POST /api/v1/settlements``; either side may send it."""

    items: Annotated[tuple[SettlementItem, ...], MinLen(1), MaxLen(MAX_BATCH_ITEMS)]


class SettlementResult(WireModel):
    """One answer an item, in order.

    settled: paid now (``entry`` names the ledger entry). duplicate: already paid. equivocation: the client contradicts
    an earlier voucher; kept as evidence, and paid only what it promises beyond what was paid before. rejected: not
    payable; ``reason`` says why and sending again will not help.
    retry: the tracker could not decide now; send again.
    """

    status: Literal["settled", "duplicate", "equivocation", "rejected", "retry"]
    reason: Annotated[str, MaxLen(300)] = ""
    entry: Name | None = None
    paid_microcredits: Count = 0


class SettlementReply(WireModel):
    """Body of the reply."""

    results: tuple[SettlementResult, ...]


class ReportRequest(WireModel):
    """A client's complaint about a node whose answer did not verify."""

    node: PeerIdField
    job: JobId
    segment: SegmentNumber
    kind: AnswerFault | Literal["silent", "too_slow", "other"]
    detail: Annotated[str, MaxLen(500)] = ""
    evidence: Annotated[bytes, MaxLen(16_384)] = b""


class BalanceReply(WireModel):
    """Micro-credits. spendable: free to reserve. reserved: held by live grants."""

    account: str
    spendable_microcredits: int
    reserved_microcredits: int = 0
    promotional: bool = False


class OwnEntry(WireModel):
    """An entry that the asking account or node takes part in. index: None until it is in the log."""

    entry: LedgerEntry
    index: Count | None = None


class EntriesReply(WireModel):
    """Newest first; ``next_cursor``: pass as ``cursor`` for older ones."""

    entries: tuple[OwnEntry, ...]
    next_cursor: str | None = None


class HeadReply(WireModel):
    """The newest signed tree head."""

    head: Envelope


class LeavesReply(WireModel):
    """Leaf hashes from ``start`` on."""

    start: Count
    leaves: tuple[Digest, ...]


class ConsistencyReply(WireModel):
    """Proof that the tree of ``to_size`` leaves extends the one of ``from_size``."""

    from_size: Count
    to_size: Count
    path: tuple[Digest, ...]


class Link(SignedBody):
    """A node's consent to be attached to an account, signed with the node's key."""

    signature_type: ClassVar[str] = "link"

    network: NetworkId
    peer: PeerIdField
    challenge: Annotated[bytes, MinLen(16), MaxLen(64)]


class LinkRequest(WireModel):
    """Body of ``POST /api/v1/nodes/{peer}/link``, with the account's API key in ``Authorization``."""

    link: Envelope


class LinkReply(WireModel):
    """account: id of the account; moved: micro-credits that the node had earned before."""

    account: str
    moved_microcredits: Count
