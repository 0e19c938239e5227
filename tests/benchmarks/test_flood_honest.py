import asyncio

import pytest
from gpunode.errors import NoNodeFound
from gpunode_benchmarks.flood_honest import CLIENTS, STREAMS_PER_CLIENT, HonestStreams, honest_streams
from gpunode_benchmarks.overhead_network import OverheadNetwork


@pytest.mark.full
async def test_all_streams_run_until_the_end_of_the_context(overhead: OverheadNetwork) -> None:
    """Every token is noted with its time and lag, in order, and nothing comes afterwards."""
    async with honest_streams(overhead) as honest, asyncio.timeout(60.0):
        while len(honest.arrivals) < 4 * CLIENTS * STREAMS_PER_CLIENT:  # noqa: ASYNC110 -- a token rings no bell here
            await asyncio.sleep(0.05)
    times = [arrival.at_s for arrival in honest.arrivals]
    assert times == sorted(times)
    assert min(arrival.lag_ms for arrival in honest.arrivals) > 0
    assert honest.broken == 0
    await asyncio.sleep(0)
    assert len(times) == len(honest.arrivals)


class _Refuses:
    """A client that finds no node, until it has been asked thrice; then it is cancelled."""

    def __init__(self) -> None:
        self.asked = 0

    async def chat(self, **_: object) -> None:
        self.asked += 1
        if self.asked == 3:
            raise asyncio.CancelledError
        raise NoNodeFound("none is there")


async def test_a_broken_stream_is_counted_and_followed_by_another() -> None:
    """Honest clients do not give up."""
    honest, client = HonestStreams(), _Refuses()
    task = asyncio.create_task(honest.run(client))  # type: ignore[arg-type]  # -- a stand-in
    await asyncio.gather(task, return_exceptions=True)
    assert (task.cancelled(), honest.broken) == (True, 2)
