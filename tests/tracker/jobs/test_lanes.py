"""Jobs that exactly the same workers may take stand in one lane."""

import pytest
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.lanes import lane_of, lanes_for, parts_of


@pytest.mark.parametrize(
    ("task", "region", "model", "lane"),
    [
        (Task.LLM, None, None, "llm/*/*"),
        (Task.IMAGE_GEN, Region.ASIA, None, "image_gen/asia/*"),
        (Task.WHISPER, None, "whisper-tiny.en", "whisper/*/whisper-tiny.en"),
    ],
)
def test_a_jobs_lane(task: Task, region: Region | None, model: str | None, lane: str) -> None:
    """Says what it asks for, and nothing is lost."""
    assert lane_of(task, region, model) == lane
    assert parts_of(lane) == (task, region, model)


def test_the_lanes_of_a_worker() -> None:
    """Of its types: jobs of its region and of none, of its models and of none."""
    lanes = lanes_for([Task.LLM, Task.LLM], Region.EUROPE, ["a"])
    assert set(lanes) == {"llm/*/*", "llm/*/a", "llm/europe/*", "llm/europe/a"}
    assert len(lanes) == 4


def test_a_worker_that_is_nobody_knows_where() -> None:
    """Gets no job of a region."""
    assert lanes_for([Task.LLM], None, []) == ("llm/*/*",)
