"""Whether the model that the user names can show the task that the user names."""

import json
from typing import TYPE_CHECKING

from gpunode.demo.children import DemoFailed

if TYPE_CHECKING:
    from gpunode_protocol.tasks import Task

    from gpunode.demo.children import Children


def check_model(children: "Children", task: "Task", model: str) -> None:
    """Ask the command that knows the models, before a network is started for nothing.

    Raises:
        DemoFailed: there is no such model, or it does something else; with those that could be taken.
    """
    rows = json.loads(children.run("models", ["models", "list", "--json"]))
    known = next((row for row in rows if model in {row["name"], *row["aliases"]}), None)
    if known is not None and known["task"] == task:
        return
    fitting = ", ".join(row["name"] for row in rows if row["task"] == task)
    what = f"There is no model {model!r}." if known is None else f"{model} is a model for {known['task']}, not {task}."
    raise DemoFailed(f"{what} For {task} there are: {fitting}.")
