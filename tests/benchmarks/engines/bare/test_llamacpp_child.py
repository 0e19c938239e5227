from pathlib import Path

import pytest
from gpunode_benchmarks.engines.bare_child import bare_children
from gpunode_benchmarks.errors import BenchmarkFailed

MODULE = "gpunode_benchmarks.engines.bare.llamacpp_child"


async def test_a_prompt_that_does_not_fit_is_a_failure(smollm2_path: Path) -> None:
    """A side that did less than it was asked for has no speed."""
    load = {"model_path": str(smollm2_path), "slots": 2, "context_tokens": 64, "threads": 1}
    async with bare_children(MODULE, load, 1) as (bare,):
        assert await bare.run({"prompts": [[1, 4093], [1, 4094]], "output_tokens": 2}) > 0
        with pytest.raises(BenchmarkFailed, match="The bare library's process ended"):
            await bare.run({"prompts": [[1000] * 300], "output_tokens": 2})


async def test_a_model_that_cannot_be_loaded_is_a_failure_with_its_cause(tmp_path: Path) -> None:
    """The user sees what the library said, and no child is left."""
    load = {"model_path": str(tmp_path / "absent.gguf"), "slots": 1, "context_tokens": 64, "threads": 1}
    with pytest.raises(BenchmarkFailed, match=r"The bare library's process ended: .+"):
        async with bare_children(MODULE, load, 2):
            pytest.fail("There is nothing to load.")
