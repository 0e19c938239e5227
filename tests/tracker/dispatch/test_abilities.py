"""Which lanes of the queue live nodes can serve, and where."""

import pytest
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.dispatch.abilities import Abilities
from gpunode_tracker.jobs.lanes import lane_of

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


def test_without_live_nodes_nothing_can_be_done() -> None:
    """Whatever the lane."""
    assert Abilities({}, {}).regions_for(lane_of(Task.LLM, None, None)) == set()
