from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from gpunode_benchmarks.overhead_engines import MODEL, OverheadEngines, paced_model, resolve_with_paced
from gpunode_benchmarks.paced_backend import BACKEND
from gpunode_engines.base import Event, Finished, GenerateRequest
from gpunode_engines.catalogue import default_catalogue, resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import ModelNotFound
from gpunode_engines.supervisor import SupervisedEngine


def test_no_node_can_be_told_to_serve_a_paced_model() -> None:
    """It is in no catalogue: only a node that a bench or a test has started knows it."""
    with pytest.raises(ModelNotFound):
        resolve_model(paced_model(20))
    assert BACKEND not in {entry.backend for entry in default_catalogue().entries}
    assert (resolve_with_paced(paced_model(20)).backend, resolve_with_paced(MODEL)) == (BACKEND, resolve_model(MODEL))


async def test_no_prompt_is_cached_and_no_answer_ends_early(
    smollm2_path: Path,  # noqa: ARG001 -- the plan reads the model's file
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever asks: a node names its client, whose prompts would be kept, and direct calls name nobody."""
    asked: list[GenerateRequest] = []

    async def generate(_: SupervisedEngine, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        asked.append(request)
        yield Finished(reason="length", prompt_tokens=1, output_tokens=1)

    monkeypatch.setattr(SupervisedEngine, "generate", generate)
    engines = OverheadEngines(EngineSettings(), detect_machine())
    engine = await engines(resolve_model(MODEL))
    request = GenerateRequest(job_key="job", prompt_ids=(1,), max_tokens=1, cache_owner="client")
    assert [event async for event in engine.generate(request)]
    assert (asked[0].cache_owner, asked[0].ignore_eos, asked[0].prompt_ids) == ("", True, (1,))
    assert engines.made == {MODEL: engine}
