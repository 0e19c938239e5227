import sys
from pathlib import Path

import pytest
from gpunode_benchmarks.bare_library import BareLoad, bare_library
from gpunode_benchmarks.errors import BenchmarkFailed


def _load(path: Path) -> BareLoad:
    return BareLoad(library="llamacpp", model_path=str(path), slots=1, context_tokens=64, threads=1)


async def test_a_model_that_cannot_be_loaded_is_a_failure_with_its_cause(tmp_path: Path) -> None:
    """The user sees what the library said, and no child is left."""
    with pytest.raises(BenchmarkFailed, match="ended with status 1: RuntimeError"):
        async with bare_library(_load(tmp_path / "absent.gguf")):
            pytest.fail("There is nothing to load.")


async def test_prompts_are_completed_one_after_the_other(smollm2_path: Path) -> None:
    """The child serves until its context ends, and the library stays out of this process."""
    before = "xllamacpp" in sys.modules  # another file's tests may have imported it
    async with bare_library(_load(smollm2_path)) as bare:
        assert await bare.run([[1, 4093, 198]], 2) > 0
        assert await bare.run([[1, 4093, 199]], 2) > 0
    assert ("xllamacpp" in sys.modules) == before


async def test_a_prompt_that_does_not_fit_is_a_failure(smollm2_path: Path) -> None:
    """A side that did less than it was asked for has no speed."""
    async with bare_library(_load(smollm2_path)) as bare:
        with pytest.raises(BenchmarkFailed, match="ended with status 1"):
            await bare.run([[1000] * 300], 2)
