"""What heartbeats say, and how often."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

from gpunode_engines.devices import Gpu
from gpunode_node.pull.offer import Offer
from gpunode_node.pull.vitals import Vitals, gpu_info
from gpunode_protocol.jobs_api import LEASE_HEARTBEAT_INTERVAL_S, LEASE_S, GpuInfo
from gpunode_protocol.tasks import Task

from tests.node.running_daemon import MACHINE

ALL = Offer((Task.LLM,), ("a",))


@dataclass
class _Bench:
    """What is held."""

    offer: Offer = ALL
    running: int = 0
    holding: dict[str, int] = field(default_factory=dict)
    lease_s: int = LEASE_S


def _vitals(bench: _Bench, *, closed: bool = False, takes: bool = True) -> Vitals:
    intake: Any = SimpleNamespace(closed=closed, takes_jobs=takes and not closed)
    return Vitals(intake, cast("Any", bench), lambda: MACHINE, 60.0)


async def test_status_and_offer() -> None:
    """online with nothing to do, busy with work or without a slot, offline while nothing is taken for the owner."""
    cases = [
        (_vitals(_Bench()), "online", ALL),
        (_vitals(_Bench(running=1)), "busy", ALL),
        (_vitals(_Bench(offer=Offer())), "busy", Offer()),
        (_vitals(_Bench(), takes=False), "busy", Offer()),
        (_vitals(_Bench(), closed=True), "offline", Offer()),
    ]
    for vitals, status, offer in cases:
        said = await vitals.now()
        assert (said.status, said.tasks, said.models) == (status, offer.tasks, offer.models)


async def test_what_is_held_is_said() -> None:
    """Its leases are renewed by that; the memory is that of all cards."""
    said = await _vitals(_Bench(holding={"a": 2})).now()
    assert said.holding == {"a": 2}
    assert said.gpu_info.memory_total > 16


async def test_whether_an_answer_may_be_on_its_way_is_said_by_who_knows() -> None:
    """Heartbeats of the clock do not know."""
    vitals = _vitals(_Bench(holding={"a": 2}))
    assert (await vitals.now()).polling is None
    said = await vitals.between_polls()
    assert (said.polling, said.holding) == (False, {"a": 2})


def test_who_holds_a_job_is_heard_more_often() -> None:
    """Three times in a lease, which a tracker may make shorter."""
    assert _vitals(_Bench()).interval_s() == 60
    assert _vitals(_Bench(holding={"a": 1})).interval_s() == LEASE_HEARTBEAT_INTERVAL_S
    assert _vitals(_Bench(holding={"a": 1}, lease_s=9)).interval_s() == 3


def test_the_cards_memory() -> None:
    """In gigabytes of 10^9 bytes, as cards are sold; nothing without a card."""
    cards = tuple(Gpu(name="x", memory_bytes=24 * 10**9, free_memory_bytes=free * 10**9) for free in (24, 20))
    assert gpu_info(replace(MACHINE, gpus=cards)) == GpuInfo(memory_used=4.0, memory_total=48.0)
    assert gpu_info(replace(MACHINE, gpus=())) == GpuInfo(memory_used=0.0, memory_total=0.0)
