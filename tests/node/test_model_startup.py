"""From the owner's wishes to started engines; ``test_startup`` and ``pull/test_daemon`` have it in whole nodes."""

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.errors import ModelNotFound
from gpunode_engines.memory_plan import Capacity
from gpunode_node.config import NodeSettings
from gpunode_node.model_startup import ModelStartup
from gpunode_node.surroundings import Surroundings

from tests.node.running_daemon import MACHINE, MEBIBYTE, FakeWorld


def _startup(folder: Path, stack: AsyncExitStack, fakes: FakeWorld, **settings: object) -> ModelStartup:
    surroundings = Surroundings(create_engine=fakes.create_engine, detect_machine=lambda: MACHINE)
    return ModelStartup(NodeSettings.load({"data_dir": folder} | settings), surroundings, stack)


async def test_engines_end_with_the_stack(tmp_path: Path) -> None:
    """They are started in the order of their names, each once."""
    fakes = FakeWorld()
    async with AsyncExitStack() as stack:
        startup = _startup(tmp_path, stack, fakes, model=("smollm2", "smollm2-135m", "qwen2.5-7b"))
        entries = startup.named()
        pool = EnginePool(Capacity(main_bytes=0, card_bytes=0))
        models = await startup.load(entries, await startup.machine(), pool)
        assert [model.name for model in models] == ["smollm2-135m", "qwen2.5-7b-instruct"]
        assert all(engine.healthy for engine in fakes.engines)
    assert not any(engine.healthy for engine in fakes.engines)


async def test_what_is_chosen(tmp_path: Path) -> None:
    """Nothing where the owner names something unknown; the network's default where he names nothing."""
    async with AsyncExitStack() as stack:
        with pytest.raises(ModelNotFound, match="gpt-9"):
            _startup(tmp_path, stack, FakeWorld(), model=("gpt-9",)).named()
        startup = _startup(tmp_path, stack, FakeWorld())
        assert startup.named() == []
        assert startup.choose({"llm": "smollm2-135m"}, MACHINE).name == "smollm2-135m"


async def test_the_owners_limit_of_memory(tmp_path: Path) -> None:
    """Models get no more of a card than he gives."""
    free = replace(MACHINE, gpus=tuple(replace(gpu, free_memory_bytes=gpu.memory_bytes) for gpu in MACHINE.gpus))
    async with AsyncExitStack() as stack:
        surroundings = Surroundings(detect_machine=lambda: free)
        settings = NodeSettings.load({"data_dir": tmp_path, "max_gpu_memory": "1000"})
        machine = await ModelStartup(settings, surroundings, stack).machine()
        assert {gpu.free_memory_bytes for gpu in machine.gpus} == {1000 * MEBIBYTE}
