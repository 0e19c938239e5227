"""What is shown of each model; ``test_status`` has it in the node's whole state."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from gpunode_node.model_status import engine_problems, model_status

from tests.node.virtual_time import virtual_time
from tests.node.world import running_node


@virtual_time
async def test_a_model(tmp_path: Path) -> None:
    """Queue, engine, speed in words and figures, and what confines the engine."""
    async with running_node(tmp_path) as node:
        shown = model_status(node.model)
        assert (shown["name"], shown["active"], shown["queued"], shown["slots"]) == ("fake", 0, 0, 4)
        assert (shown["decode_tokens_per_s"], shown["loaded"], shown["healthy"]) == (1000.0, True, True)
        assert shown["sandbox"]["lacks"] == ["system calls by seccomp"]


def test_engines_that_died() -> None:
    """One that is only not in memory is loaded when a job comes, and is no problem."""
    models = [
        SimpleNamespace(name=name, engine=SimpleNamespace(healthy=healthy), waits_for_memory=waits)
        for name, healthy, waits in (("well", True, False), ("dead", False, False), ("unloaded", False, True))
    ]
    assert engine_problems(cast("list[Any]", models)) == ["The engine of dead is being restarted."]
