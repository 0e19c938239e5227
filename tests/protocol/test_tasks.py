"""The kinds of work."""

from gpunode_protocol.payloads import PARAMS_OF
from gpunode_protocol.tasks import Task


def test_names() -> None:
    """The names that stand on the wire, in the SDK and in REST."""
    assert list(Task) == ["llm", "image_gen", "whisper", "embedding"]


def test_every_task_has_parameters() -> None:
    """No task lacks its model of parameters."""
    assert set(PARAMS_OF) == set(Task)
