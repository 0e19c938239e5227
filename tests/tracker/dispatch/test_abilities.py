"""Which lanes of the queue live nodes can serve, and where."""

import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.dispatch.abilities import Abilities
from gpunode_tracker.jobs.lanes import lane_of

from tests.sdk.world import Keys

ASIA, EUROPE = Region.ASIA, Region.EUROPE
NODES = [Identity.from_seed(bytes([number]) * 32).peer_id for number in range(3, 7)]
SERVED = {
    (Task.LLM, "smollm2-135m"): {NODES[0]: ASIA},
    (Task.LLM, "qwen2.5-7b-instruct"): {NODES[0]: ASIA, NODES[1]: EUROPE},
    (Task.EMBEDDING, "all-minilm-l6-v2"): {NODES[1]: EUROPE},
    (Task.WHISPER, "whisper-small"): {NODES[0]: ASIA},
}
ABILITIES = Abilities(SERVED, {Task.LLM: "smollm2-135m", Task.IMAGE_GEN: "digits-diffusion"})


@pytest.mark.parametrize(
    ("task", "region", "model", "regions"),
    [
        (Task.LLM, None, "qwen2.5-7b-instruct", {ASIA, EUROPE}),
        (Task.LLM, None, "Qwen2.5-7B", {ASIA, EUROPE}),
        (Task.LLM, EUROPE, "qwen2.5-7b", {EUROPE}),
        (Task.LLM, None, None, {ASIA}),
        (Task.LLM, EUROPE, None, set()),
        (Task.LLM, None, "llama-3", set()),
        (Task.EMBEDDING, None, None, {EUROPE}),
        (Task.EMBEDDING, None, "minilm", {EUROPE}),
        (Task.IMAGE_GEN, None, None, set()),
        (Task.WHISPER, Region.AFRICA, None, set()),
    ],
)
def test_where_the_jobs_of_a_lane_can_be_done(
    task: Task, region: Region | None, model: str | None, regions: set[Region]
) -> None:
    """By exact or shorter name; without one, by the default model, or any where the task has no default."""
    assert set(ABILITIES.nodes_for(lane_of(task, region, model)).values()) == regions


def test_what_adverts_tell() -> None:
    """Each node with its region, for its model."""
    keys = Keys()
    adverts = [
        keys.advert(Identity.from_seed(bytes([number]) * 32), region=region, model=model).body
        for number, (region, model) in enumerate([(ASIA, "a"), (EUROPE, "a"), (ASIA, "b"), (ASIA, "b")], start=3)
    ]
    assert Abilities.of(adverts, {}).served == {
        (Task.LLM, "a"): {NODES[0]: ASIA, NODES[1]: EUROPE},
        (Task.LLM, "b"): {NODES[2]: ASIA, NODES[3]: ASIA},
    }


def test_without_live_nodes_nothing_can_be_done() -> None:
    """Whatever the lane."""
    assert Abilities({}, {}).nodes_for(lane_of(Task.LLM, None, None)) == {}
