import asyncio
from collections.abc import Awaitable, Callable, Iterable

from gpunode_protocol.mesh.lookup import MAX_ASKED, look_up
from hypothesis import given
from hypothesis import strategies as st

from tests.node.virtual_time import virtual_time

Neighbours = list[tuple[int, int]] | None


class Swarm:
    """Nodes that are their own ids; each knows some others."""

    def __init__(self, knows: dict[int, Iterable[int]], silent: Iterable[int] = ()) -> None:
        self._knows = {node: list(others) for node, others in knows.items()}
        self._silent = set(silent)
        self.asked: list[int] = []

    async def ask(self, node: int) -> Neighbours:
        """Answer with the neighbours, or not at all."""
        self.asked.append(node)
        await asyncio.sleep(0)  # lets the other requests begin
        return None if node in self._silent else [(other, other) for other in self._knows[node]]


def start(*nodes: int) -> list[tuple[int, int]]:
    """Return nodes as a look-up begins with them."""
    return [(node, node) for node in nodes]


async def test_walks_to_the_nearest() -> None:
    """Neighbours of neighbours are asked until nobody is nearer."""
    swarm = Swarm({128: [64], 64: [8], 8: [1], 1: []})
    found = await look_up(0, start(128), swarm.ask, deadline_s=5, width=2)
    assert [node for node, _ in found.nearest] == [1, 8]
    assert found.complete


async def test_silent_nodes_are_replaced_by_the_next_nearest() -> None:
    """The result holds nodes that answered, as many as there are."""
    swarm = Swarm({node: range(1, 9) for node in range(1, 9)}, silent=[1, 2])
    found = await look_up(0, start(8), swarm.ask, deadline_s=5, width=3)
    assert [node for node, _ in found.nearest] == [3, 4, 5]


async def test_nobody_known_is_an_empty_result() -> None:
    """The first peer of a network finds nobody, without an error."""
    found = await look_up(0, start(), Swarm({}).ask, deadline_s=5)
    assert (found.nearest, found.asked, found.complete) == ((), 0, True)


async def test_deadline_returns_what_was_found() -> None:
    """A node that never answers does not hold up the result, and its request is cancelled."""
    cancelled = asyncio.Event()

    async def ask(node: int) -> Neighbours:
        """Answer with the neighbours, or not at all."""
        if node == 1:
            return []
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return None

    found = await look_up(0, start(1, 2), ask, deadline_s=0.05)
    assert [node for node, _ in found.nearest] == [1]
    assert not found.complete
    assert cancelled.is_set()


def never_answering(*silent: int, late: int | None = None) -> Callable[[int], Awaitable[Neighbours]]:
    """Return nodes of which some never answer, and one a second late; all know 1 to 20."""

    async def ask(node: int) -> Neighbours:
        """Answer with the neighbours, or not at all."""
        if node in silent:
            await asyncio.Event().wait()
        await asyncio.sleep(1.0 if node == late else 0.01)
        return start(*range(1, 21))

    return ask


@virtual_time
async def test_silence_holds_up_a_look_up_for_a_moment_only() -> None:
    """Four nodes that never answer take all places at once; after 0.4 s others are asked in theirs."""
    started_at = asyncio.get_running_loop().time()
    found = await look_up(0, start(1, 2, 3, 4), never_answering(1, 2, 3), deadline_s=5, width=4)
    assert [node for node, _ in found.nearest] == [4, 5, 6, 7]
    assert found.complete
    assert asyncio.get_running_loop().time() - started_at < 1


@virtual_time
async def test_a_late_answer_counts_while_it_is_waited_for() -> None:
    """With too few other nodes, a slow one is as good as any."""
    started_at = asyncio.get_running_loop().time()
    found = await look_up(0, start(1, 2), never_answering(late=1), deadline_s=5, width=30)
    assert len(found.nearest) == 20
    assert found.nearest[0] == (1, 1)
    assert found.complete
    assert round(asyncio.get_running_loop().time() - started_at) == 1


async def test_invented_neighbours_end_at_the_cap() -> None:
    """A hostile node that always knows someone nearer costs a bounded number of requests."""
    invented = iter(range(2**20, 0, -1))

    async def ask(node: int) -> Neighbours:
        """Answer with the neighbours, or not at all."""
        assert node
        return [(identifier, identifier) for identifier in (next(invented) for _ in range(40))]

    found = await look_up(0, start(2**21), ask, deadline_s=5)
    assert found.asked == MAX_ASKED


async def test_requests_run_in_parallel_up_to_the_limit() -> None:
    """Three at once with parallel=3, never more."""
    running = peak = 0

    async def ask(node: int) -> Neighbours:
        """Answer with the neighbours, or not at all."""
        nonlocal running, peak
        assert node
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return []

    await look_up(0, start(*range(1, 9)), ask, deadline_s=5, parallel=3)
    assert peak == 3


@given(st.integers(0, 2**16), st.sets(st.integers(1, 2**16), min_size=1, max_size=40))
def test_finds_the_true_nearest_in_a_connected_swarm(target: int, nodes: set[int]) -> None:
    """If everyone knows everyone, the nearest by XOR distance are found."""
    swarm = Swarm(dict.fromkeys(nodes, nodes))
    found = asyncio.run(look_up(target, start(min(nodes)), swarm.ask, deadline_s=5, width=4))
    within_cap = sorted(nodes, key=lambda node: node ^ target)[:4]
    if len(nodes) <= 20:
        assert [node for node, _ in found.nearest] == within_cap
    assert len(swarm.asked) == len(set(swarm.asked))
