"""Entries of the ledger: double-entry transfers in micro-credits, whose canonical bytes are the Merkle log's leaves."""

from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Field, model_validator

from gpunode_protocol import PROTOCOL_VERSION, canonical
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.signing import WireModel
from gpunode_protocol.validation import (
    Count,
    Digest,
    JobId,
    Name,
    NetworkId,
    PeerIdField,
    SegmentNumber,
    TaskField,
    UnixSeconds,
)

BLIND_BYTES = 16

AccountName = Annotated[
    str, MaxLen(120), Field(pattern=r"^(issuance|promotional|(account|reserved|node):[A-Za-z0-9._-]+)$")
]
"""``issuance`` (the only source of credits), ``promotional`` (sink of credits that pay nodes nothing spendable),
``account:<id>``, ``reserved:<jti>``, ``node:<peer id>``."""

SignedAmount = Annotated[int, Ge(-(2**62)), Le(2**62)]


class Transfer(WireModel):
    """One line of an entry: an account gains (positive) or loses (negative) micro-credits."""

    account: AccountName
    microcredits: SignedAmount


class SettledJob(WireModel):
    """What a ``settle`` entry pays for. count, input_count: units paid by this entry together with earlier ones."""

    job: JobId
    segment: SegmentNumber
    node: PeerIdField
    client: PeerIdField
    jti: Name
    task: TaskField
    model: Name
    count: Count
    input_count: Count
    voucher: Digest
    receipt: Digest | None = None


class RestoredLog(WireModel):
    """The log that a restored one continues, as its last known head has it. issued_at: of that head, Unix seconds."""

    log: Name
    size: Count
    root: Digest
    issued_at: UnixSeconds


class LedgerEntry(WireModel):
    """One entry. blind: 16 random bytes, so that the public leaf hash does not give small facts away.

    Its transfers add up to zero; anything else is refused. restored: of the entry by which a log begins that was
    restored from a backup; it moves nothing.
    """

    v: int = PROTOCOL_VERSION
    network: NetworkId
    id: Name
    kind: Literal["issue", "reserve", "settle", "return", "link", "restored"]
    at: UnixSeconds
    transfers: Annotated[tuple[Transfer, ...], MaxLen(64)]
    settled: SettledJob | None = None
    restored: RestoredLog | None = None
    memo: Annotated[str, MaxLen(200)] = ""
    blind: Annotated[bytes, MinLen(BLIND_BYTES), MaxLen(BLIND_BYTES)]

    @model_validator(mode="after")
    def _balances(self) -> "LedgerEntry":
        if sum(transfer.microcredits for transfer in self.transfers) != 0:
            raise ValueError("the transfers of an entry must add up to zero")
        if (self.kind == "restored") != (self.restored is not None) or (self.restored and self.transfers):
            raise ValueError("an entry of kind restored names the log that it continues, and moves nothing")
        return self

    def to_leaf(self) -> bytes:
        """Return the canonical bytes that the Merkle log hashes."""
        return canonical.encode(self.to_map())

    @classmethod
    def from_leaf(cls, data: bytes) -> "LedgerEntry":
        """Read a leaf's bytes.

        Raises:
            NotCanonical, MalformedMessage: not an entry.
        """
        entry = cls.from_map(canonical.decode(data))
        if entry.v != PROTOCOL_VERSION:
            raise MalformedMessage(f"Ledger entries of version {entry.v} are not known here.")
        return entry
