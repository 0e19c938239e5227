import pytest
from gpunode_benchmarks.engines.bare_child import bare_children
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.plan import plan_engine


async def test_a_file_that_is_not_there_is_a_failure() -> None:
    """The user sees what the library said."""
    plan = plan_engine(resolve_model("whisper-tiny.en"), EngineSettings(engine_gpu=False), detect_machine())
    load = {"root": plan.root, "threads": 1}
    async with bare_children("gpunode_benchmarks.engines.bare.whisper_child", load, 1) as (bare,):
        with pytest.raises(BenchmarkFailed, match=r"FileNotFoundError.*absent\.wav"):
            await bare.run({"file": "absent.wav", "language": "en"})
