"""A model that is asked for in the wrong way."""

import pytest
from gpunode.errors import NoNodeFound
from gpunode_protocol.tasks import Task

from tests.sdk.world import World


@pytest.mark.parametrize("name", ["whisper-small", "whisper"])
async def test_a_model_of_another_task_is_told(world: World, name: str) -> None:
    """The user learns how to ask it, also by its alias."""
    world.add_node(model="whisper-small", task=Task.WHISPER)
    async with world.client() as client:
        with pytest.raises(NoNodeFound) as caught:
            await client.generate_image("a seven", model=name)
    told = str(caught.value)
    assert told.startswith(f"No live node serves {name} for image_gen. whisper-small is a speech model: ask it by ")
    assert "'gpunode transcribe'" in told


async def test_a_model_that_nobody_serves(world: World) -> None:
    """Nothing is said of other tasks then."""
    world.add_node()
    async with world.client() as client:
        with pytest.raises(NoNodeFound, match="'gpunode nodes' shows what is served now"):
            await client.generate_image("a seven", model="sdxl-turbo")
