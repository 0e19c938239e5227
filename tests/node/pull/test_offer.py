"""What can be taken."""

from types import SimpleNamespace
from typing import Any, cast

from gpunode_node.pull.offer import Offer, offer_of
from gpunode_protocol.tasks import Task


def _model(name: str, task: Task, slots: int) -> Any:
    return cast("Any", SimpleNamespace(name=name, task=task, scheduler=SimpleNamespace(slots=slots)))


def test_models_with_a_free_slot() -> None:
    """Each task once; jobs for what nobody serves take no slot."""
    models = [_model("a", Task.LLM, 2), _model("b", Task.LLM, 1), _model("c", Task.WHISPER, 1)]
    assert offer_of(models, []) == Offer((Task.LLM, Task.WHISPER), ("a", "b", "c"))
    assert offer_of(models, ["a", "b", "x", "x"]) == Offer((Task.LLM, Task.WHISPER), ("a", "c"))
    assert offer_of(models, ["a", "a", "b"]) == Offer((Task.WHISPER,), ("c",))
    assert offer_of(models, ["a", "a", "b", "c"]) == Offer()
