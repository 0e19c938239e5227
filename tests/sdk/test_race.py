"""With events by hand; whole jobs: see ``test_job_run``."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from gpunode._probing import OwnJob
from gpunode._race import Part, first_to_begin
from gpunode_protocol.client_job import Failed, JobEvent
from gpunode_protocol.errors import ErrorCode, GpunodeError, job_error
from gpunode_protocol.messages import QueuedFrame, TokensFrame

TOKEN = TokensFrame(ids=(1,), text="a")
QUEUED = QueuedFrame(position=1, eta_s=1.0)
BUSY = Failed(job_error(ErrorCode.BUSY, "full"))


def _part() -> Part:
    return Part(cast("Any", None), cast("Any", None), cast("Any", None), OwnJob(0.0), cast("Any", None), sent_at=0.0)


@dataclass
class _Field:
    """Two nodes and what they say; a node that has nothing more to say is silent for ever."""

    first: list[list[JobEvent]]
    second: list[list[JobEvent]] | None = None
    dismissed: list[tuple[str, GpunodeError | None]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parts = {"first": _part(), "second": _part()}
        self.hedges = 0
        self.changed = asyncio.Event()

    def name(self, part: Part) -> str:
        return next(name for name, known in self.parts.items() if known is part)

    async def next_events(self, part: Part) -> list[JobEvent]:
        said = self.first if self.name(part) == "first" else self.second
        if not said:
            await asyncio.Event().wait()
        assert said
        return said.pop(0)

    async def hedge(self, slow: Part) -> Part | None:
        assert slow is self.parts["first"]
        self.hedges += 1
        if self.second is None:
            self.changed.set()
            return None
        return self.parts["second"]

    def dismiss(self, part: Part, error: GpunodeError | None) -> None:
        self.dismissed.append((self.name(part), error))
        self.changed.set()

    async def run(self, hedge_after_s: float = 0.0) -> tuple[str, list[JobEvent]]:
        part, events = await first_to_begin(
            self.parts["first"],
            next_events=self.next_events,
            hedge=self.hedge,
            hedge_after_s=hedge_after_s,
            dismiss=self.dismiss,
            leave=lambda part: self.left.append(self.name(part)),
        )
        return self.name(part), events


async def test_a_quick_node_has_no_rival() -> None:
    """All that it said is returned."""
    race = _Field([[QUEUED], [TOKEN]])
    assert await race.run(hedge_after_s=60) == ("first", [QUEUED, TOKEN])
    assert (race.hedges, race.dismissed, race.left) == (0, [], [])


async def test_the_second_one_was_first() -> None:
    """The first is let go."""
    race = _Field([[QUEUED]], [[TOKEN]])
    assert await race.run() == ("second", [TOKEN])
    assert race.dismissed == [("first", None)]


async def test_one_that_fails_leaves_the_other() -> None:
    """Its failure is told, and no race is lost by it."""
    race = _Field([], [[BUSY]])
    task = asyncio.create_task(race.run())
    await race.changed.wait()
    assert race.dismissed == [("second", BUSY.error)]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert race.left == ["first"]


async def test_the_last_one_that_fails_is_returned() -> None:
    """With its failure."""
    assert await _Field([[BUSY]]).run(hedge_after_s=60) == ("first", [BUSY])


@pytest.mark.parametrize("said", [TOKEN, BUSY])
async def test_the_first_is_heard_while_the_second_cannot_be_reached(said: JobEvent) -> None:
    """What it says is returned at once, whatever it is; the other one is not waited for."""
    race, speaks = _Field([]), asyncio.Event()

    async def next_events(_part: Part) -> list[JobEvent]:
        await speaks.wait()
        return [said]

    async def hedge(_slow: Part) -> Part | None:
        speaks.set()
        await asyncio.Event().wait()
        return None

    part, events = await first_to_begin(
        race.parts["first"],
        next_events=next_events,
        hedge=hedge,
        hedge_after_s=0.0,
        dismiss=race.dismiss,
        leave=race.left.append,
    )
    assert (part, events) == (race.parts["first"], [said])
    assert (race.dismissed, race.left) == ([], [])


async def test_the_first_fails_in_the_moment_in_which_the_second_is_there() -> None:
    """The second does the job, as if it had been there before."""
    race, moment = _Field([], [[TOKEN]]), asyncio.Event()

    async def next_events(part: Part) -> list[JobEvent]:
        if part is race.parts["second"]:
            return await race.next_events(part)
        await moment.wait()
        return [BUSY]

    async def hedge(_slow: Part) -> Part | None:
        asyncio.get_running_loop().call_soon(moment.set)
        await moment.wait()
        return race.parts["second"]

    part, events = await first_to_begin(
        race.parts["first"],
        next_events=next_events,
        hedge=hedge,
        hedge_after_s=0.0,
        dismiss=race.dismiss,
        leave=race.left.append,
    )
    assert (part, events) == (race.parts["second"], [TOKEN])
    assert race.dismissed == [("first", BUSY.error)]


async def test_nobody_to_ask() -> None:
    """It is asked for once, and then the first is waited for."""
    race = _Field([])
    task = asyncio.create_task(race.run())
    await race.changed.wait()
    race.first.append([TOKEN])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (race.hedges, race.left) == (1, ["first"])


@pytest.mark.parametrize("hedge_after_s", [0.0, 60.0])
async def test_whoever_was_asked_is_left_whenever_the_caller_goes(hedge_after_s: float) -> None:
    """Also in the moment in which one has won, and if it goes twice."""
    for steps in range(24):
        race = _Field([[QUEUED], [TOKEN]], [[QUEUED], [QUEUED]])
        task = asyncio.create_task(race.run(hedge_after_s))
        for _ in range(steps % 12):
            await asyncio.sleep(0)
        has_begun = steps % 12 > 0
        task.cancel()
        await asyncio.sleep(0)
        if steps >= 12:
            task.cancel()
        await asyncio.wait({task})
        gone = [*race.left, *(name for name, _ in race.dismissed)]
        asked = ["first", "second"][: 1 + race.hedges] if has_begun else []
        if task.cancelled():
            assert sorted(gone) == asked, steps
        else:
            assert sorted([*gone, task.result()[0]]) == asked, steps
