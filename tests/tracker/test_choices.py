"""Parameters of a query that name one of a few things."""

import pytest
from aiohttp.test_utils import make_mocked_request
from gpunode_protocol.tasks import Task
from gpunode_tracker.choices import read_choice
from gpunode_tracker.errors import InvalidRequest


def test_one_of_some_names() -> None:
    """Left out or empty, it is none."""
    assert read_choice(make_mocked_request("GET", "/?type=llm"), "type", Task) is Task.LLM
    assert read_choice(make_mocked_request("GET", "/?type="), "type", Task) is None
    assert read_choice(make_mocked_request("GET", "/"), "type", Task) is None


def test_another_name() -> None:
    """The message names those that there are, and repeats no long one."""
    with pytest.raises(InvalidRequest, match="one of llm, image_gen, whisper, embedding") as caught:
        read_choice(make_mocked_request("GET", "/?type=" + "x" * 1_000), "type", Task)
    assert len(str(caught.value)) < 200
