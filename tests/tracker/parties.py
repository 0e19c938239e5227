"""Clients and nodes for the tracker's tests: they sign what real ones would sign."""

from dataclasses import dataclass, field
from typing import Any

from gpunode_protocol.adverts import Advert, Gpu, ModelAdvert, Speed
from gpunode_protocol.identity import Identity
from gpunode_protocol.payloads import Usage
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import SettlementItem
from gpunode_protocol.vouchers import Voucher

MODEL = "smollm2-135m"
START_AT = 1_750_000_000
"""Where the tests' clock stands at first, Unix seconds."""


@dataclass
class TestClock:
    """A clock that tests turn."""

    __test__ = False

    now: float = START_AT

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def job_id(number: int) -> str:
    """Return a UUIDv7 in text form."""
    return f"01900000-0000-7000-8000-{number:012x}"


@dataclass
class Job:
    """One segment of a job, from which vouchers and the receipt are made."""

    network: str
    client: Identity
    node: Identity
    jti: str
    job: str = field(default_factory=lambda: job_id(1))
    segment: int = 0
    start: int = 0
    task: Task = Task.LLM
    model: str = MODEL

    def voucher(self, count: int, *, digest: bytes | None = None, **changes: Any) -> Signed[Voucher]:
        """Return a voucher for ``count`` tokens; not final unless ``changes`` say so."""
        fields = self._shared() | {
            "count": count,
            "input_count": 0,
            "digest": digest or count.to_bytes(32, "big"),
            "final": False,
        }
        return sign(self.client, Voucher(**(fields | changes)))

    def finished(self, count: int, input_count: int = 0, **changes: Any) -> tuple[Signed[Voucher], Signed[Receipt]]:
        """Return the final voucher and the receipt that it agrees with."""
        digest = changes.pop("digest", count.to_bytes(32, "big"))
        receipt = sign(
            self.node,
            Receipt(
                **self._shared(),
                fingerprint=bytes(32),
                request_digest=bytes(32),
                output_digest=digest,
                parameters={"max_tokens": 100},
                usage=Usage(input_tokens=input_count, output_tokens=count),
                ttft_ms=5,
                duration_ms=50,
                finish_reason="stop",
                finished_at=START_AT,
                **changes,
            ),
        )
        voucher = self.voucher(count, digest=digest, input_count=input_count, final=True, receipt=receipt.digest)
        return voucher, receipt

    def item(self, count: int, input_count: int = 0, **changes: Any) -> SettlementItem:
        """Return final voucher and receipt as they are submitted."""
        voucher, receipt = self.finished(count, input_count, **changes)
        return SettlementItem(voucher=voucher.envelope, receipt=receipt.envelope)

    def partial(self, count: int, **changes: Any) -> SettlementItem:
        """Return a voucher that is not final, as it is submitted."""
        return SettlementItem(voucher=self.voucher(count, **changes).envelope)

    def _shared(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "job": self.job,
            "segment": self.segment,
            "node": self.node.peer_id,
            "client": self.client.peer_id,
            "jti": self.jti,
            "task": self.task,
            "model": self.model,
            "start": self.start,
        }


def advert(
    node: Identity,
    certificate: Envelope,
    network: str,
    *,
    sequence: int = 1,
    expires_at: int = START_AT + 150,
    region: Region = Region.EUROPE,
    **changes: Any,
) -> Signed[Advert]:
    """Return a node's advert."""
    fields = {
        "network": network,
        "peer": node.peer_id,
        "certificate": certificate,
        "sequence": sequence,
        "region": region,
        "gpu": Gpu(model="", count=0, memory_mb=0),
        "model": ModelAdvert(
            name=MODEL,
            task=Task.LLM,
            fingerprint=bytes(32),
            speed=Speed(input_milliunits_per_s=1, output_milliunits_per_s=1),
            context=2048,
            slots=4,
        ),
        "addresses": ("/ip4/127.0.0.1/tcp/4001",),
        "expires_at": expires_at,
    }
    return sign(node, Advert(**(fields | changes)))
