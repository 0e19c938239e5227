"""Which lanes of the queue live nodes can serve, and where."""

import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.dispatch.abilities import Abilities
from gpunode_tracker.jobs.lanes import lane_of

from tests.sdk.world import Keys

ASIA, EUROPE = Region.ASIA, Region.EUROPE
SERVED = {
    (Task.LLM, "smollm2-135m"): frozenset({ASIA}),
    (Task.LLM, "qwen2.5-7b-instruct"): frozenset({ASIA, EUROPE}),
    (Task.EMBEDDING, "all-minilm-l6-v2"): frozenset({EUROPE}),
    (Task.WHISPER, "whisper-small"): frozenset({ASIA}),
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
    assert ABILITIES.regions_for(lane_of(task, region, model)) == regions


def test_what_adverts_tell() -> None:
    """Each node's region counts for its model."""
    keys = Keys()
    adverts = [
        keys.advert(Identity.from_seed(bytes([number]) * 32), region=region, model=model).body
        for number, (region, model) in enumerate([(ASIA, "a"), (EUROPE, "a"), (ASIA, "b"), (ASIA, "b")], start=3)
    ]
    assert Abilities.of(adverts, {}).served == {
        (Task.LLM, "a"): {ASIA, EUROPE},
        (Task.LLM, "b"): {ASIA},
    }


def test_without_live_nodes_nothing_can_be_done() -> None:
    """Whatever the lane."""
    assert Abilities({}, {}).regions_for(lane_of(Task.LLM, None, None)) == set()
