"""``generate_image`` from the call to the files, in a network in memory."""

from pathlib import Path

import pytest
from gpunode.client import InferenceClient
from gpunode.errors import AnswerInterrupted, InvalidRequest, VerificationFailed
from gpunode.types import ImageProgress
from gpunode_protocol.payloads import ImageParams
from gpunode_protocol.tasks import Task

from tests.sdk.scripted_node import ScriptedNode
from tests.sdk.world import World

MODEL = "digits-diffusion"
SEVEN = b"\x89PNG seven"
EIGHT = b"\x89PNG eight"


def _add(world: World, *pictures: bytes, cut_after: int | None = None) -> ScriptedNode:
    return world.add_node(model=MODEL, task=Task.IMAGE_GEN, pictures=pictures, cut_after=cut_after)


async def test_a_picture_with_progress(world: World, tmp_path: Path) -> None:
    """Steps, previews, the file, its seed and what it cost."""
    node = _add(world, SEVEN)
    told: list[ImageProgress] = []
    async with world.client() as client:
        result = await client.generate_image(
            "a handwritten seven", model=MODEL, seed=5, preview_every_steps=1, on_progress=told.append
        )
    assert told == [ImageProgress(1, 2, b"\x89PNG"), ImageProgress(2, 2, None)]
    assert [(picture.data, picture.media_type) for picture in result.images] == [(SEVEN, "image/png")]
    assert (result.seed, result.usage.images, result.usage.image_units) == (5, 1, 20)
    assert (result.route.node, result.receipt.verified) == (node.peer_id, True)
    assert result.save(tmp_path / "seven.png") == (tmp_path / "seven.png",)
    assert (tmp_path / "seven.png").read_bytes() == SEVEN


async def test_what_is_signed_are_the_model_s_defaults(world: World) -> None:
    """Also of the network's default model."""
    world.tracker.info = world.keys.network_info(default_models={"llm": "x", "image_gen": MODEL})
    node = _add(world, SEVEN)
    async with world.client() as client:
        await client.generate_image("a handwritten seven")
    params = node.jobs[0].request.body.read_params()
    assert isinstance(params, ImageParams)
    assert (params.width, params.height, params.steps, params.guidance_millionths) == (32, 32, 20, 3_000_000)


def test_several_pictures_get_numbers(world: World, tmp_path: Path) -> None:
    """Saved by the client without an event loop."""
    _add(world, SEVEN, EIGHT)
    with InferenceClient.from_config(world.config(), world.surroundings()) as client:
        result = client.generate_image("digits", model=MODEL, n=2)
    assert [path.name for path in result.save(tmp_path / "digit.png")] == ["digit-1.png", "digit-2.png"]
    assert (tmp_path / "digit-2.png").read_bytes() == EIGHT


async def test_a_node_that_fails_before_the_first_picture(world: World) -> None:
    """Another one begins anew, with the same seed."""
    for number in range(2):
        _add(world, SEVEN, cut_after=0 if number == 0 else None)
        world.nodes[number].queued = number * 4  # the one that fails is asked first
    async with world.client() as client:
        result = await client.generate_image("a handwritten seven", model=MODEL)
    assert [attempt.node for attempt in result.route.failed] == [world.nodes[0].peer_id]
    first, second = (node.jobs[0].request.body.read_params() for node in world.nodes)
    assert first == second


async def test_a_node_that_fails_after_it(world: World) -> None:
    """What came is paid for, so the caller gets it with the error."""
    _add(world, SEVEN, EIGHT, cut_after=1)
    async with world.client() as client:
        with pytest.raises(AnswerInterrupted, match=r"after 1 pictures: .* \(\.blobs\)") as caught:
            await client.generate_image("digits", model=MODEL, n=2)
    assert [blob.data for blob in caught.value.blobs] == [SEVEN]


async def test_the_pictures_that_are_missing_come_from_another_node(world: World) -> None:
    """With the seeds that they would have had."""
    _add(world, SEVEN, EIGHT, cut_after=1)
    _add(world, EIGHT)
    world.nodes[1].queued = 4  # the one that fails is asked first
    async with world.client() as client:
        result = await client.generate_image("digits", model=MODEL, n=2, seed=5)
    assert [picture.data for picture in result.images] == [SEVEN, EIGHT]
    assert (result.usage.images, result.usage.image_units) == (2, 40)
    rest = world.nodes[1].jobs[0].request.body
    params = rest.read_params()
    assert isinstance(params, ImageParams)
    assert (params.n, params.seed, rest.start) == (1, 6, 20)
    assert [part.output_units for part in result.route.segments] == [20, 20]


async def test_a_picture_too_few(world: World) -> None:
    """It is not taken for the whole result."""
    _add(world, SEVEN)
    async with world.client() as client:
        with pytest.raises(VerificationFailed, match="drew 1 of 2 pictures"):
            await client.generate_image("digits", model=MODEL, n=2)


async def test_a_wrong_argument_reaches_nobody(world: World) -> None:
    """It is refused before any node is asked."""
    node = _add(world, SEVEN)
    async with world.client() as client:
        with pytest.raises(InvalidRequest, match="steps"):
            await client.generate_image("a handwritten seven", model=MODEL, steps=0)
    assert not node.requests
