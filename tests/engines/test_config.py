from pathlib import Path

import pytest
from gpunode_engines.config import EngineSettings
from pydantic import ValidationError


def test_the_defaults_use_the_platforms_folders() -> None:
    """Models are data, digests are cache."""
    settings = EngineSettings()
    assert settings.models_dir.name == "models"
    assert settings.engine_threads is None


def test_the_environment_overrides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names begin with GPUNODE_; an argument wins over them."""
    monkeypatch.setenv("GPUNODE_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("GPUNODE_ENGINE_THREADS", "3")
    assert EngineSettings().models_dir == tmp_path
    assert EngineSettings().engine_threads == 3
    assert EngineSettings(engine_threads=1).engine_threads == 1


@pytest.mark.parametrize("name", ["engine_threads", "engine_slots", "engine_context_tokens", "engine_time_limit_s"])
def test_zero_is_refused(name: str) -> None:
    """Every size is at least one."""
    with pytest.raises(ValidationError):
        EngineSettings.model_validate({name: 0})


def test_settings_are_frozen() -> None:
    """Nobody changes them while a node runs."""
    with pytest.raises(ValidationError):
        EngineSettings().engine_threads = 5  # type: ignore[misc]  # -- what must not work
