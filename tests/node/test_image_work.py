"""Image jobs through the whole node."""

from pathlib import Path
from typing import Any

import pytest
from gpunode_engines.base import Blob, Event, Finished, Progress
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.media import ImageRequest
from gpunode_node.image_work import MIN_TIME_LIMIT_S, ImageWork
from gpunode_node.tasks import work_of
from gpunode_protocol import blobs
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.messages import ProgressFrame
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.payloads import ImageParams, Usage
from gpunode_protocol.tasks import Task

from tests.node.fake_media_engine import FakeMediaEngine
from tests.node.job_client import JobClient, ask
from tests.node.world import request, running_node

PARAMS: dict[str, Any] = {
    "prompt": "a handwritten seven",
    "width": 32,
    "height": 32,
    "steps": 2,
    "guidance_millionths": 3_000_000,
}
UNITS = 2
"""32 x 32 pixels in two steps, by 1,024."""


def _picture(index: int, data: bytes = b"PNG") -> Blob:
    return Blob(index=index, offset=0, total_bytes=len(data), data=data, media_type="image/png")


def _image_request(**changes: Any) -> Any:
    return request(task=Task.IMAGE_GEN.value, params=PARAMS | changes)


async def test_pictures_with_progress(tmp_path: Path) -> None:
    """Each step is told with its preview; pictures arrive whole and are billed by pixel-steps."""
    events: tuple[Event, ...] = (
        Progress(step=1, total=4, preview=b"jpeg"),
        Progress(step=2, total=4),
        _picture(0),
        Progress(step=4, total=4),
        _picture(1, b"second"),
        Finished(reason="stop", prompt_tokens=0, output_tokens=0),
    )
    engine = FakeMediaEngine(Task.IMAGE_GEN, events)
    async with running_node(tmp_path, engine) as node:
        client = await ask(node, _image_request(n=2, seed=5, negative_prompt="blurred"))
    progress = [event for event in client.events if isinstance(event, ProgressFrame)]
    assert [(event.step, event.total, event.preview) for event in progress] == [
        (1, 4, b"jpeg"),
        (2, 4, None),
        (4, 4, None),
    ]
    assert [event.data for event in client.events if isinstance(event, blobs.Blob)] == [b"PNG", b"second"]
    assert client.completed.usage == Usage(images=2, image_units=2 * UNITS)
    (order,) = engine.asked
    assert isinstance(order, ImageRequest)
    assert (order.prompt, order.negative_prompt, order.guidance, order.seed, order.n) == (
        "a handwritten seven",
        "blurred",
        3.0,
        5,
        2,
    )


async def test_input_pictures_reach_the_engine(tmp_path: Path) -> None:
    """Uploaded in pieces after ``accepted``, whole in the engine's order."""
    salt = b"s" * 32
    image = blobs.Blob(id=7, media_type="image/png", data=bytes(300_000))
    ref = {"id": 7, "size_bytes": 300_000, "digest": blob_digest(salt, image.data), "media_type": "image/png"}
    engine = FakeMediaEngine(Task.IMAGE_GEN, (_picture(0), Finished(reason="stop", prompt_tokens=0, output_tokens=0)))
    signed = _image_request(mode="image", image=ref, strength_millionths=500_000)
    async with running_node(tmp_path, engine) as node:
        client = await JobClient(node.connect(), signed, inputs=(image,)).run()
        assert client.completed.usage.images == 1
    (order,) = engine.asked
    assert isinstance(order, ImageRequest)
    assert (order.mode, order.image, order.strength) == ("image", image.data, 0.5)


@pytest.mark.parametrize(
    "events",
    [
        (_picture(0), _picture(1)),
        (Blob(index=0, offset=1, total_bytes=3, data=b"P", media_type="image/png"),),
        (Blob(index=0, offset=0, total_bytes=1, data=b"PNG", media_type="image/png"),),
        (_picture(0),),
    ],
    ids=["one too many", "out of order", "too long", "no end"],
)
async def test_an_engine_that_breaks_its_contract(tmp_path: Path, events: tuple[Event, ...]) -> None:
    """The job fails, and nothing of it is taken for a result."""
    async with running_node(tmp_path, FakeMediaEngine(Task.IMAGE_GEN, events)) as node:
        client = await ask(node, _image_request())
    assert client.error.code is ErrorCode.ENGINE_FAILED


async def test_what_the_model_cannot_do(tmp_path: Path) -> None:
    """It is said before the job is accepted."""
    engine = FakeMediaEngine(Task.IMAGE_GEN, (), refuse=InvalidParameters("width must be a multiple of 16."))
    async with running_node(tmp_path, engine) as node:
        client = await ask(node, _image_request())
    assert (client.error.code, client.error.message) == (
        ErrorCode.INVALID_PARAMETERS,
        "width must be a multiple of 16.",
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 10_000}, "steps"),
        ({"width": 100}, "width"),
        ({"n": 17}, "n"),
        ({"guidance_millionths": 200_000_000}, "guidance"),
        ({"strength_millionths": -1}, "strength"),
        ({"mode": "image"}, "mode image needs image"),
    ],
)
def test_what_no_model_could_do(changes: dict[str, Any], named: str) -> None:
    """It is refused before any engine is asked; there is no NaN, for signed numbers are whole."""
    info = FakeMediaEngine(Task.IMAGE_GEN, ()).info
    with pytest.raises(JobError, match=named) as caught:
        work_of(_image_request(**changes).body, info)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS


def test_time_limits() -> None:
    """At least 150 s, more for many steps of large pictures."""
    small = ImageParams.from_map(PARAMS)
    large = ImageParams.from_map(PARAMS | {"width": 1024, "height": 1024, "steps": 50, "n": 2})
    body = _image_request().body
    assert ImageWork(body, small).time_limit_s(1.0) == MIN_TIME_LIMIT_S == 150.0
    assert ImageWork(body, large).time_limit_s(1.0) == 30 + 2 * 100 * 4
