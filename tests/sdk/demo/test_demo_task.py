"""What tasks of the demo share."""

import pytest
from gpunode.demo.children import DemoFailed
from gpunode.demo.demo_task import require_package


def test_a_package_that_is_there_is_not_imported() -> None:
    """Importing it could be slow."""
    require_package("gpunode_engines", "a model", "gpunode")


def test_a_package_that_is_missing_is_named() -> None:
    """With what pip has to be given."""
    with pytest.raises(DemoFailed, match=r"a model is not installed. Run: pip install --no-deps thing==1"):
        require_package("no_such_package", "a model", "--no-deps thing==1")
