"""Sybils with chosen ids around the keys of a model: clients of a real tracker and of light nodes must still find one.

In the DHT alone, whoever holds all places next to a key can hide it (facts that docs/security.md states); the tracker's
index and the client's memory of good nodes must not depend on those places.
"""

import itertools
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from gpunode._discovery import QUICK_LOOK_UP_S
from gpunode._selection import Wanted
from gpunode._session import Session
from gpunode._surroundings import Surroundings
from gpunode._tracker import TrackerClient as SdkTracker
from gpunode.config import ClientConfig
from gpunode.demo.children import Children
from gpunode.demo.network import start_tracker
from gpunode.errors import TrackerUnreachable
from gpunode_benchmarks.light_nodes import MODEL, LightNodes
from gpunode_node.tracker_client import TrackerClient
from gpunode_protocol.adverts import open_advert
from gpunode_protocol.dht_keys import keys_to_search
from gpunode_protocol.mesh._dht_protocol import REPLICAS
from gpunode_protocol.mesh.records import key_id_of
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NetworkInfo, NodesReply

from tests.protocol.mesh.sybils import Answer, distance, ground_identities, sybils

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]

HONEST = 9
NEIGHBOURS = 3
"""Honest servers that are nearer to a key than whoever is near to the other one."""
LOOK_UPS, FEW = 100, 10
ENOUGH = 0.99
"""Share of look-ups that must find an honest node."""
HOME = Region.EUROPE
ANSWERS = (Answer.NOTHING, Answer.GARBAGE, Answer.EMPTY_FOREVER)


class WithoutIndex(SdkTracker):
    """A tracker that is away as far as its index goes."""

    async def nodes(self, *, task: str, model: str | None, region: str | None) -> NodesReply:  # noqa: ARG002 -- the parent's signature
        """Fail."""
        raise TrackerUnreachable("The tracker is away.")


def key_distance(one: str, other: str) -> int:
    """Return how far two keys are from each other."""
    return int.from_bytes(key_id_of(one), "big") ^ int.from_bytes(key_id_of(other), "big")


@dataclass
class Field:
    """A tracker, honest light nodes, and clients. folder: short, for Unix sockets."""

    url: str
    info: NetworkInfo
    nodes: LightNodes
    folder: Path
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def keys(self) -> list[str]:
        """The keys under which a client looks, one for each salt."""
        bits = self.info.shard_bits
        return [str(key) for key in keys_to_search(self.info.network, Task.LLM, self.nodes.model, HOME, bits)]

    @property
    def honest(self) -> set[str]:
        """Who should be found."""
        return {node.mesh.peer_id for node in self.nodes.nodes}

    @property
    def servers(self) -> list[str]:
        """All honest servers of the DHT, the tracker with them."""
        return [*self.honest, *(address.rpartition("/")[2] for address in self.info.bootstrap)]

    def choose_model(self) -> None:
        """Take a model of which nobody has stored anything yet, and whose keys have neighbours of their own.

        In a large network two keys have that; among ten servers, Sybils around one key are often near the other too.
        """
        while True:
            self.nodes.model = f"{MODEL}-{next(self.numbers)}"
            one, other = self.keys
            apart = key_distance(one, other)
            near = [[peer for peer in self.servers if distance(peer, key) < apart / 2] for key in (one, other)]
            if min(map(len, near)) >= NEIGHBOURS:
                return

    def session(self, *, with_index: bool) -> Session:
        """Return a client of its own."""
        tracker = SdkTracker if with_index else WithoutIndex
        config = ClientConfig(tracker=self.url, state_dir=self.folder / f"c{next(self.numbers)}", region=HOME)
        return Session(config, Surroundings(create_tracker=tracker.from_config))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def honest_field() -> AsyncIterator[Field]:
    """Honest nodes, all in one region, on the session's event loop."""
    with tempfile.TemporaryDirectory(prefix="gpne-") as name, Children(Path(name)) as children:
        folder = Path(name)
        url = start_tracker(folder / "t", children)
        async with AsyncExitStack() as stack:
            tracker = TrackerClient(url)
            stack.push_async_callback(tracker.close)
            info = await tracker.network()
            nodes = LightNodes(stack, folder, tracker, info, (HOME,))
            await nodes.grow(HONEST)
            yield Field(url, info, nodes, folder)


@dataclass(frozen=True)
class Rates:
    """Share of look-ups that found an honest node.

    key: of the first key alone. dht: under all keys of the model, as clients do it.
    """

    key: float
    dht: float
    with_index: float
    with_memory: float


async def _attack(field: Field, counts: Sequence[int], answers: Sequence[Answer], look_ups: int = LOOK_UPS) -> Rates:
    """Put so many Sybils next to each key, nearer than everybody else; then let nodes announce and clients look up."""
    field.choose_model()
    others = field.servers
    identities = [
        identity
        for key, count in zip(field.keys, counts, strict=False)
        for identity in itertools.islice(ground_identities(key, min(distance(peer, key) for peer in others)), count)
    ]
    sessions = [field.session(with_index=number == 0) for number in range(4)]
    with_index, dht_only, remembering, of_one_key = sessions
    try:
        async with sybils(identities, field.info.bootstrap, field.folder / f"a{next(field.numbers)}", answers):
            await field.nodes.announce()
            remembering._good_nodes.remember(open_advert(field.nodes.nodes[0].announcer.adverts[0]))
            return Rates(
                key=await _rate_of_key(of_one_key, field, look_ups),
                dht=await _rate(dht_only, field, look_ups),
                with_index=await _rate(with_index, field, look_ups),
                with_memory=await _rate(remembering, field, look_ups),
            )
    finally:
        for session in sessions:
            await session.close()


async def _rate(session: Session, field: Field, look_ups: int) -> float:
    """Return the share of searches, each a new one, that bring an honest node."""
    discovery = (await session.ready()).finder._discovery
    wanted = Wanted(Task.LLM, field.nodes.model, HOME)
    found = [await discovery.find(wanted, home=HOME) for _ in range(look_ups)]
    hits = [result for result in found if field.honest & {candidate.node for candidate in result.candidates}]
    return len(hits) / look_ups


async def _rate_of_key(session: Session, field: Field, look_ups: int) -> float:
    """Return the share of look-ups of the first key that bring an honest node."""
    mesh = (await session.ready()).mesh
    found = [await mesh.find(field.keys[0], deadline_s=QUICK_LOOK_UP_S) for _ in range(look_ups)]
    return sum(1 for result in found if result.records) / look_ups


@pytest.mark.parametrize("look_ups", [FEW, pytest.param(LOOK_UPS, marks=pytest.mark.full)])
async def test_ten_sybils_around_both_keys(
    honest_field: Field, look_ups: int, record_property: Callable[[str, object], None]
) -> None:
    """Clients find an honest node, whichever source they have."""
    rates = await _attack(honest_field, (5, 5), ANSWERS, look_ups)
    record_property("rates", asdict(rates))
    assert min(rates.dht, rates.with_index, rates.with_memory) >= ENOUGH


@pytest.mark.full
async def test_five_sybils_leave_three_places_of_a_key(
    honest_field: Field, record_property: Callable[[str, object], None]
) -> None:
    """Five took all places of a key under stock hivemind; here three of its eight are left.

    On a machine without a free processor all three may miss an announcement: one key alone is no promise.
    """
    rates = await _attack(honest_field, (5, 5), ANSWERS)
    record_property("rates", asdict(rates))
    assert rates.key >= ENOUGH


@pytest.mark.full
@pytest.mark.parametrize("count", [5, 10, 20])
async def test_sybils_around_one_key_leave_the_other(
    honest_field: Field, count: int, record_property: Callable[[str, object], None]
) -> None:
    """Each topic has two keys in unrelated places: whoever takes one of them hides nobody."""
    rates = await _attack(honest_field, (count,), ANSWERS)
    record_property("rates", asdict(rates))
    assert min(rates.dht, rates.with_index, rates.with_memory) >= ENOUGH


@pytest.mark.parametrize(
    ("count", "look_ups"),
    [(5, FEW), (20, FEW), *(pytest.param(count, LOOK_UPS, marks=pytest.mark.full) for count in (5, 10, 20))],
)
async def test_sybils_around_both_keys(
    honest_field: Field, count: int, look_ups: int, record_property: Callable[[str, object], None]
) -> None:
    """With all eight places of both keys, the DHT alone may find nobody any more; the other two sources do."""
    rates = await _attack(honest_field, (count - count // 2, count // 2), ANSWERS, look_ups)
    record_property("rates", asdict(rates))
    assert min(rates.with_index, rates.with_memory) >= ENOUGH
    if count < 2 * REPLICAS:
        assert rates.dht >= ENOUGH


@pytest.mark.full
async def test_silent_sybils(honest_field: Field, record_property: Callable[[str, object], None]) -> None:
    """Those that never answer sit out after the first time, and honest nodes move up into their places."""
    rates = await _attack(honest_field, (5, 5), (Answer.SILENCE,))
    record_property("rates", asdict(rates))
    assert min(rates.with_index, rates.with_memory) >= ENOUGH
