"""Names that callers write."""

import pytest
from gpunode._arguments import to_region, to_task
from gpunode.errors import InvalidRequest
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task


def test_names_that_exist() -> None:
    """None means anywhere."""
    assert (to_region("asia"), to_region(None), to_task("image_gen")) == (Region.ASIA, None, Task.IMAGE_GEN)


def test_names_that_do_not() -> None:
    """The message lists what there is."""
    with pytest.raises(InvalidRequest, match="the regions are asia, "):
        to_region("atlantis")
    with pytest.raises(InvalidRequest, match=r"the tasks are llm, image_gen"):
        to_task("poetry")
