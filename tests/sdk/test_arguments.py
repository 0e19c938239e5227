"""Names that callers write."""

import pytest
from gpunode._arguments import node_info, to_region, to_task
from gpunode._selection import Candidate, Choice
from gpunode.errors import InvalidRequest
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.sdk.world import Keys


def test_names_that_exist() -> None:
    """None means anywhere."""
    assert (to_region("asia"), to_region(None), to_task("image_gen")) == (Region.ASIA, None, Task.IMAGE_GEN)


def test_names_that_do_not() -> None:
    """The message lists what there is."""
    with pytest.raises(InvalidRequest, match="the regions are asia, "):
        to_region("atlantis")
    with pytest.raises(InvalidRequest, match=r"the tasks are llm, image_gen"):
        to_task("poetry")


@pytest.mark.parametrize(
    ("task", "tokens_per_s", "speed"),
    [
        (Task.LLM, 50.0, "50 tokens/s"),
        (Task.EMBEDDING, 500.0, "texts: 500 tokens/s"),
        (Task.IMAGE_GEN, None, "0.2 steps/s of 512 x 512"),
        (Task.WHISPER, None, "0.05 x real time"),
    ],
)
def test_a_nodes_speed_is_told_in_the_unit_of_its_task(task: Task, tokens_per_s: float | None, speed: str) -> None:
    """Only texts have tokens."""
    advert = Keys().advert(Identity.from_seed(b"\x07" * 32), task=task)
    info = node_info(Choice(Candidate(advert, "dht")), ())
    assert (info.tokens_per_s, info.speed) == (tokens_per_s, speed)
