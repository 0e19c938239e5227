import json
from typing import Any

import pytest
from gpunode.demo.children import DemoFailed
from gpunode.demo.model_check import check_model
from gpunode_protocol.tasks import Task

ROWS = [
    {"name": "smollm2-135m", "aliases": ["smollm2"], "task": "llm"},
    {"name": "digits-diffusion", "aliases": [], "task": "image_gen"},
    {"name": "sd-turbo", "aliases": [], "task": "image_gen"},
]


class _Children:
    def __init__(self) -> None:
        self.ran: list[list[str]] = []

    def run(self, name: str, arguments: list[str]) -> str:
        """The list of models."""
        self.ran.append([name, *arguments])
        return json.dumps(ROWS)


@pytest.mark.parametrize("model", ["smollm2-135m", "smollm2"])
def test_a_model_of_the_task(model: str) -> None:
    """By its name and by another one."""
    children: Any = _Children()
    check_model(children, Task.LLM, model)
    assert children.ran == [["models", "models", "list", "--json"]]


@pytest.mark.parametrize(
    ("model", "said"),
    [("smollm2", "smollm2 is a model for llm, not image_gen"), ("dall-e", "There is no model 'dall-e'")],
)
def test_another_model(model: str, said: str) -> None:
    """What could be taken is said."""
    children: Any = _Children()
    with pytest.raises(DemoFailed, match=f"{said}. For image_gen there are: digits-diffusion, sd-turbo."):
        check_model(children, Task.IMAGE_GEN, model)
