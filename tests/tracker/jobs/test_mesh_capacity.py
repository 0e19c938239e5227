"""What the live mesh nodes can do."""

import random
from typing import Any

from gpunode_protocol.adverts import Load, ModelAdvert, Speed
from gpunode_protocol.certificates import certificate_for
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import sign
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.estimates import Capacity
from gpunode_tracker.jobs.mesh_capacity import MeshCapacities, typical_ms
from gpunode_tracker.region_index import RegionIndex

from tests.tracker.parties import MODEL, START_AT, TestClock, advert

NODE = Identity.from_seed(b"\x03" * 32)
NETWORK = "ab" * 20


def model(name: str = MODEL, task: Task = Task.LLM, **changes: Any) -> ModelAdvert:
    """Return a model of four slots that reads 1,000 and writes 100 tokens a second."""
    fields: dict[str, Any] = {
        "fingerprint": bytes(32),
        "speed": Speed(input_milliunits_per_s=1_000_000, output_milliunits_per_s=100_000),
        "context": 2048,
        "slots": 4,
    }
    return ModelAdvert(name=name, task=task, **{**fields, **changes})


def index_of(*models: ModelAdvert, **changes: Any) -> RegionIndex:
    """Return an index with one node."""
    index = RegionIndex(random.Random(0))
    certificate = sign(NODE, certificate_for(NODE.peer_id, network=NETWORK, kid="k", now=START_AT)).envelope
    for number, item in enumerate(models, start=1):
        made = advert(NODE, certificate, NETWORK, sequence=number, model=item, **changes)
        index.update(made, START_AT)
    return index


async def capacities(index: RegionIndex, clock: TestClock | None = None, *, mesh: bool = True) -> list[Capacity]:
    """Return what is read from an index."""
    source = MeshCapacities(index, {Task.LLM: MODEL}, clock or TestClock(), lambda: mesh)
    return list(await source.capacities())


async def test_a_node_with_two_models() -> None:
    """One capacity each, of one participant; jobs without a model go to the default one."""
    index = index_of(model(), model("other"), load=Load(active=2, queued=1), region=Region.ASIA)
    first, second = sorted(await capacities(index), key=lambda item: item.takes_unnamed, reverse=True)
    assert first == Capacity(
        who=f"node:{NODE.peer_id}",
        tasks=frozenset({Task.LLM}),
        models=frozenset({MODEL}),
        takes_unnamed=True,
        resolves_names=True,
        region=Region.ASIA,
        slots=4,
        busy=3,
        processing_ms=256 / 1000 * 1000 + 256 / 100 * 1000,
    )
    assert (second.who, second.models, second.takes_unnamed) == (first.who, {"other"}, False)


async def test_who_is_silent_does_not_count() -> None:
    """Its advert has expired, or it was not heard."""
    clock = TestClock()
    index = index_of(model())
    assert len(await capacities(index, clock)) == 1
    clock.advance(151)
    assert await capacities(index, clock) == []


async def test_without_a_mesh_no_node_can_be_asked() -> None:
    """However many there are."""
    assert await capacities(index_of(model()), mesh=False) == []


def test_a_node_that_states_no_speed() -> None:
    """Nothing is known of what a job takes there; embeddings have no output whose speed could be stated."""
    speed = Speed(input_milliunits_per_s=1_000_000, output_milliunits_per_s=0)
    certificate = sign(NODE, certificate_for(NODE.peer_id, network=NETWORK, kid="k", now=START_AT)).envelope
    chat = advert(NODE, certificate, NETWORK, model=model(speed=speed)).body
    texts = advert(NODE, certificate, NETWORK, model=model(task=Task.EMBEDDING, speed=speed)).body
    assert (typical_ms(chat), typical_ms(texts)) == (None, 256.0)
