"""Adverts: what a node says of itself in the DHT and in the tracker's index, signed, at most 1,400 bytes."""

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import Field

from gpunode_protocol.errors import MalformedMessage, ProtocolError
from gpunode_protocol.geography import Position
from gpunode_protocol.identity import public_key_of
from gpunode_protocol.safe_msgpack import pack, unpack
from gpunode_protocol.signing import Envelope, Signed, SignedBody, WireModel, open_self_named
from gpunode_protocol.validation import (
    Count,
    Fingerprint,
    Latitude,
    Longitude,
    Name,
    NetworkId,
    PeerIdField,
    RegionField,
    TaskField,
    UnixSeconds,
)

MAX_ADVERT_BYTES = 1_400
ANNOUNCE_INTERVAL_S = 60
ADVERT_LIFETIME_S = 150
"""An advert lives 2.5 announce intervals: one lost announcement does not hide a node."""
MAX_ADVERT_AHEAD_S = 180
"""No stored record may expire later than this after now."""
MAX_MODELS = 4
"""Models that one node advertises at most."""


class Gpu(WireModel):
    """count graphics cards of one model; memory_mb: MiB of each. A node without one says count 0."""

    model: Annotated[str, MaxLen(48)]
    count: Annotated[int, Ge(0), Le(64)]
    memory_mb: Count


class Speed(WireModel):
    """Measured by the node itself, in thousandths of the task's unit per second, one stream.

    Units as in ``prices``: tokens, image units, milliseconds of audio.
    """

    input_milliunits_per_s: Count
    output_milliunits_per_s: Count


class ModelAdvert(WireModel):
    """The one model that an advert is about. context: tokens (0 where it has no meaning). slots: jobs at once."""

    name: Name
    task: TaskField
    fingerprint: Fingerprint
    speed: Speed
    context: Count
    slots: Annotated[int, Ge(1), Le(1024)]


class Load(WireModel):
    """Jobs running and waiting."""

    active: Annotated[int, Ge(0), Le(100_000)] = 0
    queued: Annotated[int, Ge(0), Le(100_000)] = 0


class Advert(SignedBody):
    """Signed by the node's key.

    certificate: from the tracker. sequence: larger = newer. latitude, longitude: whole degrees, None = unknown.
    rtt_ms: measured round trip to each region. path: how it is reached. sandbox: isolation level 0 to 3.
    addresses: multiaddrs without ``/p2p``. tombstone: the node is leaving; forget it.
    """

    signature_type: ClassVar[str] = "advert"

    network: NetworkId
    peer: PeerIdField
    certificate: Envelope
    sequence: Count
    region: RegionField
    country: Annotated[str, MaxLen(2)] = ""
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    gpu: Gpu
    model: ModelAdvert
    load: Load = Load()
    rtt_ms: dict[str, Annotated[int, Ge(0), Le(60_000)]] = Field(default_factory=dict)
    path: Literal["direct", "relayed"] = "direct"
    sandbox: Annotated[int, Ge(0), Le(3)] = 0
    addresses: Annotated[tuple[Annotated[str, MaxLen(160)], ...], MaxLen(8)] = ()
    expires_at: UnixSeconds
    tombstone: bool = False


def position_of(advert: Advert) -> Position | None:
    """Return where an advert says that its node is, None where it tells no coordinates."""
    if advert.latitude is None or advert.longitude is None:
        return None
    return Position(advert.latitude, advert.longitude)


def pack_advert(envelope: Envelope) -> bytes:
    """Return the bytes that the DHT stores for a signed advert.

    Raises:
        MalformedMessage: more than 1,400 bytes; advertise fewer addresses.
    """
    data = pack(envelope.to_map())
    if len(data) > MAX_ADVERT_BYTES:
        raise MalformedMessage(f"The advert has {len(data)} bytes, {MAX_ADVERT_BYTES} are allowed.")
    return data


def unpack_advert(data: bytes) -> Signed[Advert]:
    """Read a stored advert and check the node's own signature (not yet certificate, key or expiry).

    Raises:
        ProtocolError: oversized, malformed or not signed by the peer that it names.
    """
    if len(data) > MAX_ADVERT_BYTES:
        raise MalformedMessage(f"An advert has {len(data)} bytes, {MAX_ADVERT_BYTES} are allowed.")
    return open_advert(Envelope.from_map(unpack(data)))


def open_advert(envelope: Envelope) -> Signed[Advert]:
    """Check the node's own signature of an advert (see ``unpack_advert``)."""
    if len(envelope.body) > MAX_ADVERT_BYTES:
        raise ProtocolError("An advert is too large.")
    return open_self_named(Advert, envelope, lambda body: public_key_of(body.peer))
