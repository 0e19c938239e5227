from pathlib import Path

import pytest
from gpunode_benchmarks.engines.bare_child import bare_children
from gpunode_benchmarks.errors import BenchmarkFailed


@pytest.mark.full
async def test_a_folder_without_a_model_is_a_failure(tmp_path: Path) -> None:
    """The user sees what the library said."""
    load = {"model_path": str(tmp_path), "threads": 1}
    with pytest.raises(BenchmarkFailed, match=r"process ended: .*(config\.json|model)"):
        async with bare_children("gpunode_benchmarks.engines.bare.transformers_child", load, 1):
            pytest.fail("There is nothing to load.")
