"""Steps that end when the switch is thrown."""

import asyncio

import pytest
from gpunode_node.stop_switch import Cancelled, StopSwitch
from gpunode_protocol.errors import ErrorCode, JobError, job_error

from tests.node.virtual_time import virtual_time

LATE = job_error(ErrorCode.TIME_LIMIT, "late")


async def _work(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


@virtual_time
async def test_a_step_that_ends_in_time() -> None:
    """Its result is returned."""
    assert await StopSwitch().guard(_work(1), limit_s=2, late=LATE) == "done"


@virtual_time
async def test_a_step_that_is_late() -> None:
    """It is ended, and the error for that raised."""
    with pytest.raises(JobError, match="late"):
        await StopSwitch().guard(_work(3), limit_s=2, late=LATE)


@virtual_time
async def test_the_first_ending_counts() -> None:
    """A thrown switch ends the step under way and all later ones."""
    switch = StopSwitch()
    loop = asyncio.get_running_loop()
    loop.call_later(1, switch.throw, Cancelled())
    loop.call_later(1, switch.throw, LATE)
    with pytest.raises(Cancelled):
        await switch.guard(_work(5), limit_s=9, late=LATE)
    assert loop.time() == pytest.approx(1_001)
    with pytest.raises(Cancelled):
        await switch.guard(_work(5), limit_s=9, late=LATE)


@virtual_time
async def test_the_guard_waits_for_the_end_of_its_step() -> None:
    """What a step does at its cancellation is over when the guard raises."""
    ended = []

    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            ended.append(True)

    with pytest.raises(JobError):
        await StopSwitch().guard(slow_to_end(), limit_s=2, late=LATE)
    assert ended == [True]
