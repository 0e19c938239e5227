import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Gpu, Machine
from gpunode_engines.errors import ModelNotPulled
from gpunode_engines.plan import create_engine, plan_engine

MACHINE = Machine(physical_cores=6, logical_cores=12, memory_bytes=16 << 30, available_memory_bytes=8 << 30, gpus=())
SMOLLM2 = resolve_model("smollm2")


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    """Settings whose folders are the test's own."""
    return EngineSettings(models_dir=tmp_path, cache_dir=tmp_path)


def test_the_catalogue_gives_the_defaults(settings: EngineSettings, smollm2_path: Path) -> None:
    """Context, slots and template from the entry, threads from the machine, the rest from the file."""
    plan = plan_engine(SMOLLM2, settings, MACHINE)
    assert plan.files == (str(smollm2_path),)
    assert plan.quantisation == "Q4_1"
    assert plan.weights_digest == hashlib.sha256(smollm2_path.read_bytes()).digest()
    assert (plan.options.context_tokens, plan.options.slots, plan.options.threads) == (4096, 4, 6)
    assert plan.options.chat_template == SMOLLM2.chat_template
    assert plan.memory_bytes == smollm2_path.stat().st_size + 23_040 * 4096 * 4
    assert not plan.options.use_gpu


def test_settings_override(settings: EngineSettings) -> None:
    """What the user asks for counts, up to the context that the model was trained for."""
    changes = {"engine_threads": 1, "engine_slots": 2, "engine_context_tokens": 100_000}
    options = plan_engine(SMOLLM2, settings.model_copy(update=changes), MACHINE).options
    assert (options.threads, options.slots, options.context_tokens) == (1, 2, 8192)


def test_a_gpu_is_used_unless_switched_off(settings: EngineSettings) -> None:
    """Offloading needs a card and the user's consent."""
    machine = replace(MACHINE, gpus=(Gpu(name="A", memory_bytes=1, free_memory_bytes=1),))
    assert plan_engine(SMOLLM2, settings, machine).options.use_gpu
    assert not plan_engine(SMOLLM2, settings.model_copy(update={"engine_gpu": False}), machine).options.use_gpu


def test_missing_files_are_reported(settings: EngineSettings) -> None:
    """The next step stands in the message."""
    with pytest.raises(ModelNotPulled):
        plan_engine(resolve_model("qwen2.5-7b"), settings, MACHINE)


def test_the_engine_gets_the_limits_of_the_settings(settings: EngineSettings) -> None:
    """Memory and time limits reach the supervisor."""
    changed = settings.model_copy(update={"engine_memory_limit_bytes": 5, "engine_time_limit_s": 7.0})
    engine = create_engine(plan_engine(SMOLLM2, settings, MACHINE), changed)
    assert (engine.limits.rss_bytes, engine.limits.job_s) == (5, 7.0)
