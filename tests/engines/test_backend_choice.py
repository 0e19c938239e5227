import importlib.metadata
from pathlib import Path

import pytest
from gpunode_engines import backend_choice
from gpunode_engines.backend_choice import on_machine, torch_has_cuda
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Gpu, Machine

QWEN = resolve_model("qwen2.5-7b")


def machine(*free_gib: int) -> Machine:
    """Return a machine with cards that have so much memory free."""
    gpus = tuple(Gpu(name="A", memory_bytes=32 << 30, free_memory_bytes=gib << 30) for gib in free_gib)
    return Machine(physical_cores=1, logical_cores=1, memory_bytes=1, available_memory_bytes=1, gpus=gpus)


def settings(**fields: object) -> EngineSettings:
    """Return settings without a file."""
    return EngineSettings(models_dir=Path("models"), **fields)  # type: ignore[arg-type]  # -- fields of the settings


@pytest.fixture(params=["2.13.0", "2.13.0+cu130"])
def _cuda_build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it seem that torch was built for CUDA."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: request.param)


@pytest.mark.usefixtures("_cuda_build")
def test_transformers_serves_where_its_weights_fit_on_the_card() -> None:
    """15.2 GB of weights and 1.9 GB of caches: not on a card with 16 GiB free, but on one with 24."""
    chosen = on_machine(QWEN, settings(), machine(8, 24))
    assert (chosen.backend, chosen.name, chosen.stored_as) == ("transformers", QWEN.name, f"{QWEN.name}-transformers")
    assert chosen.source.patterns[0] == "*.safetensors"
    assert chosen.source != QWEN.source
    assert on_machine(QWEN, settings(), machine(16)) is QWEN
    assert on_machine(QWEN, settings(), machine()) is QWEN
    assert on_machine(QWEN, settings(engine_gpu=False), machine(24)) is QWEN


def test_a_build_for_cpus_only_serves_nothing_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does torch that is not installed, nor transformers that is not."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "2.13.0+cpu")
    assert not torch_has_cuda()
    assert on_machine(QWEN, settings(), machine(24)) is QWEN

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert not torch_has_cuda()
    monkeypatch.setattr(backend_choice.importlib.util, "find_spec", lambda _: None)
    assert not torch_has_cuda()


def test_the_settings_decide_where_there_is_a_choice() -> None:
    """On any machine; a model with one kind of weights is served as ever."""
    assert on_machine(QWEN, settings(engine_backend="transformers"), machine()).backend == "transformers"
    assert on_machine(QWEN, settings(engine_backend="llamacpp"), machine(80)) is QWEN
    smollm2 = resolve_model("smollm2")
    assert on_machine(smollm2, settings(engine_backend="transformers"), machine(80)) is smollm2
