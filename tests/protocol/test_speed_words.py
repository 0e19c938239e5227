"""Speeds in words."""

import pytest
from gpunode_protocol.speed_words import speed_in_words
from gpunode_protocol.tasks import Task

NO_LIMIT = 1e9


@pytest.mark.parametrize(
    ("task", "input_per_s", "output_per_s", "words"),
    [
        (Task.LLM, 1_000.0, 24.3, "24 tokens/s"),
        (Task.LLM, 1_000.0, 9.96, "10 tokens/s"),
        (Task.EMBEDDING, 3_388.2, NO_LIMIT, "texts: 3,388 tokens/s"),
        (Task.IMAGE_GEN, NO_LIMIT, 48.0, "0.19 steps/s of 512 x 512"),
        (Task.IMAGE_GEN, NO_LIMIT, 5_120.0, "20 steps/s of 512 x 512"),
        (Task.WHISPER, NO_LIMIT, 36_946.0, "37 x real time"),
        (Task.WHISPER, NO_LIMIT, 420.0, "0.42 x real time"),
        (Task.LLM, 0.0, 0.0, "0 tokens/s"),
    ],
)
def test_each_task_has_its_unit(task: Task, input_per_s: float, output_per_s: float, words: str) -> None:
    """The rate without a limit is never told: it costs no time."""
    assert speed_in_words(task, input_per_s=input_per_s, output_per_s=output_per_s) == words
