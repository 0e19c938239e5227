"""Start and configuration of llama.cpp; what it does with prompts: test_text_llamacpp."""

from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.errors import EngineStartFailed
from gpunode_engines.ipc import BackendOptions
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine
from gpunode_protocol.tasks import Task

from tests.engines.scripted_engine import prepare

PLAN = EnginePlan(
    task=Task.LLM,
    model="smollm2-135m",
    backend="llamacpp",
    root="/",
    files=(),
    weights_digest=bytes(32),
    quantisation="Q4_1",
    memory_bytes=0,
    options=BackendOptions(context_tokens=300, slots=2, threads=1, use_gpu=True),
)


async def test_the_file_s_own_template_is_the_default(smollm2_path: Path) -> None:
    """Without a template in the plan the model's own applies; a GPU that is not there is not needed."""
    engine = SupervisedEngine(replace(PLAN, files=(str(smollm2_path),)))
    info = await engine.start()
    try:
        assert (info.context_tokens, info.slots, info.device) == (300, 2, "cpu")
        assert b"named SmolLM" in (await prepare(engine, "Hi")).rendered
    finally:
        await engine.stop()


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model at all"])
async def test_damaged_weights_are_reported(tmp_path: Path, content: bytes) -> None:
    """The start fails with the cause."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(EngineStartFailed, match="not a usable GGUF file"):
        await SupervisedEngine(replace(PLAN, files=(str(path),))).start()


async def test_truncated_weights_are_reported(tmp_path: Path, smollm2_path: Path) -> None:
    """A whole header with half of the tensors fails in llama.cpp, not later."""
    path = tmp_path / "model.gguf"
    with smollm2_path.open("rb") as source:
        path.write_bytes(source.read(20_000_000))
    with pytest.raises(EngineStartFailed, match=r"llama\.cpp cannot load"):
        await SupervisedEngine(replace(PLAN, files=(str(path),))).start()
