"""The project's own image model in a real child process."""

import asyncio
import io
import json
import math
import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy
import pytest
import pytest_asyncio
from gpunode_engines.backends.image_previews import MAX_PREVIEW_BYTES
from gpunode_engines.base import Blob, Event, Finished, Progress
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import ContextOverflow, EngineCrashed, EngineError, InvalidParameters
from gpunode_engines.media import ImageRequest
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import SupervisedEngine
from PIL import Image

from tests.engines.backends.test_image_files import bomb
from tests.engines.digit_reader import DigitReader

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
BASE: dict[str, Any] = {
    "job_key": "job",
    "prompt": "a handwritten seven",
    "width": 32,
    "height": 32,
    "steps": 4,
    "guidance": 3.0,
    "seed": 1,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SupervisedEngine]:
    """The model, loaded once for all tests of this file."""
    folder = tmp_path_factory.mktemp("engine")
    settings = EngineSettings(models_dir=folder, cache_dir=folder, engine_threads=1)
    started = create_engine(plan_engine(resolve_model("digits"), settings, detect_machine()), settings)
    await started.start()
    yield started
    await started.stop()


async def _run(engine: SupervisedEngine, **changes: Any) -> list[Event]:
    return [event async for event in engine.generate(ImageRequest(**BASE | changes))]


def _files(events: Sequence[Event]) -> list[bytes]:
    blobs = [event for event in events if isinstance(event, Blob)]
    assert [(blob.index, blob.offset) for blob in blobs] == [(index, 0) for index in range(len(blobs))]
    assert all(len(blob.data) == blob.total_bytes for blob in blobs)
    return [blob.data for blob in blobs]


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


async def test_the_digits_that_were_asked_for(engine: SupervisedEngine) -> None:
    """A classifier that was trained on other people's digits reads at least eight of ten."""
    drawn = [
        _files(await _run(engine, prompt=f"a handwritten {digit}", steps=20, seed=number))[0]
        for number, digit in enumerate(DIGITS)
    ]
    reader = await asyncio.to_thread(DigitReader)  # the engine wants to be heard meanwhile
    read = reader.read([numpy.array(_open(data).convert("L")) for data in drawn])
    assert sum(digit == number for number, digit in enumerate(read)) >= 8, read


async def test_a_seed_means_a_picture(engine: SupervisedEngine) -> None:
    """The same one again, another one with another seed, and picture k of n is that of seed + k."""
    three = _files(await _run(engine, n=3, seed=2**32 - 2))
    assert len(set(three)) == 3
    assert _files(await _run(engine, n=3, seed=2**32 - 2)) == three
    assert _files(await _run(engine, seed=2**32 - 1)) == [three[1]]
    assert _files(await _run(engine, seed=0)) == [three[2]]


async def test_without_a_seed_the_file_says_which_was_taken(engine: SupervisedEngine) -> None:
    """So that the picture can be drawn again."""
    (data,) = _files(await _run(engine, seed=None))
    facts = json.loads(_open(data).info["parameters"])
    assert _files(await _run(engine, seed=facts["seed"])) == [data]
    assert facts == {
        "prompt": "a handwritten seven", "negative_prompt": "", "model": "digits-diffusion", "seed": facts["seed"],
        "steps": 4, "guidance": 3.0, "width": 32, "height": 32,
    }  # fmt: skip


async def test_progress_counts_the_steps_of_all_pictures(engine: SupervisedEngine) -> None:
    """With a small JPEG every second step, and none where none was asked for."""
    events = await _run(engine, n=2, preview_every_steps=2)
    told = [event for event in events if isinstance(event, Progress)]
    assert [(event.step, event.total) for event in told] == [(step, 8) for step in range(1, 9)]
    assert [bool(event.preview) for event in told] == [False, True] * 4
    assert all(len(event.preview) <= MAX_PREVIEW_BYTES for event in told)
    assert _open(told[1].preview).size == (32, 32)
    silent = await _run(engine)
    assert not any(event.preview for event in silent if isinstance(event, Progress))
    assert events[-1] == silent[-1] == Finished(reason="stop", prompt_tokens=0, output_tokens=0)


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (24, 40)])
async def test_other_sizes_within_the_model_s_limits(engine: SupervisedEngine, size: tuple[int, int]) -> None:
    """Width and height are not mixed up."""
    (data,) = _files(await _run(engine, width=size[0], height=size[1], format="webp"))
    assert (_open(data).size, _open(data).format) == (size, "WEBP")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"width": 36}, InvalidParameters, "multiples of 8"),
        ({"width": 512, "height": 512}, InvalidParameters, "at most 4,096"),
        ({"steps": 0}, InvalidParameters, "steps is 0"),
        ({"steps": 10_000}, InvalidParameters, "between 1 and 1000"),
        ({"steps": 1000}, InvalidParameters, "steps is 1000; this model has at most 999"),
        ({"guidance": math.nan}, InvalidParameters, "guidance is nan"),
        ({"strength": math.nan, "mode": "image"}, InvalidParameters, "strength is nan"),
        ({"strength": 0.0, "mode": "image"}, InvalidParameters, "strength is 0"),
        ({"strength": 0.1, "mode": "image", "steps": 200}, InvalidParameters, "this model has at most 999"),
        ({"prompt": "seven " * 20}, ContextOverflow, "prompt has 22 tokens; this model reads 16"),
        ({"negative_prompt": "four " * 20}, ContextOverflow, "negative_prompt has"),
        ({"negative_prompt": "four", "guidance": 1.0}, InvalidParameters, "no effect at guidance 1"),
    ],
)
async def test_what_the_model_cannot_do(
    engine: SupervisedEngine, changes: dict[str, Any], error: type[EngineError], said: str
) -> None:
    """It is said before the job is accepted, and when it is asked for all the same."""
    with pytest.raises(error, match=said):
        await engine.prepare(ImageRequest(**BASE | changes))
    with pytest.raises(error, match=said):
        await _run(engine, **changes)
    assert engine.active_jobs == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"To be or not to be", "image is no PNG"), (b"", "image is no PNG"), (bomb(20_000), "more than 67,108,864")],
    ids=["text", "empty", "bomb"],
)
async def test_an_input_that_is_no_picture(engine: SupervisedEngine, data: bytes, said: str) -> None:
    """The job is refused, and the child lives on in the same process."""
    pid = engine.pid
    with pytest.raises(InvalidParameters, match=said):
        await _run(engine, mode="image", image=data)
    assert len(_files(await _run(engine))) == 1
    assert engine.pid == pid


async def test_an_image_is_changed_by_strength(engine: SupervisedEngine) -> None:
    """A little leaves it close to what it was, all of it does not; exactly the steps that are paid for are run."""
    (seven,) = _files(await _run(engine, steps=20))
    changed = {}
    for strength in (0.1, 1.0):
        events = await _run(engine, mode="image", image=seven, strength=strength, prompt="a handwritten two", seed=3)
        assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4]
        changed[strength] = _distance(_files(events)[0], seven)
    assert changed[0.1] < changed[1.0] / 2


async def test_only_what_is_white_in_the_mask_is_painted_anew(engine: SupervisedEngine) -> None:
    """The other half keeps each pixel."""
    (seven,) = _files(await _run(engine, steps=20))
    mask = Image.new("L", (32, 32), "black")
    mask.paste("white", (0, 0, 16, 32))
    events = await _run(engine, mode="inpaint", image=seven, mask=_png(mask), prompt="a handwritten eight", seed=3)
    before, after = (numpy.array(_open(data).convert("RGB")) for data in (seven, _files(events)[0]))
    assert (before[:, 16:] == after[:, 16:]).all()
    assert (before[:, :16] != after[:, :16]).any()
    assert json.loads(_open(_files(events)[0]).info["parameters"])["mode"] == "inpaint"


async def test_modes_do_not_disturb_each_other(engine: SupervisedEngine) -> None:
    """They share one pipeline's weights and its scheduler."""
    before = _files(await _run(engine))
    await _run(engine, mode="image", image=before[0], strength=0.5)
    assert _files(await _run(engine)) == before


async def test_a_cancel_takes_effect_within_a_step(engine: SupervisedEngine) -> None:
    """The slot is free then, and the next job is drawn as ever."""
    expected = _files(await _run(engine))
    after_cancel = 0
    events: list[Event] = []
    async for event in engine.generate(ImageRequest(**BASE | {"steps": 999, "n": 16})):
        events.append(event)
        if len(events) == 1:
            await engine.cancel("job")
        elif isinstance(event, Progress):
            after_cancel += 1
    assert events[-1] == Finished(reason="cancelled", prompt_tokens=0, output_tokens=0)
    assert after_cancel < 20  # of 16,000: those under way while the message went through the pipe
    assert engine.active_jobs == 0
    assert _files(await _run(engine)) == expected


async def test_one_job_at_a_time(engine: SupervisedEngine) -> None:
    """A pipeline has state."""
    assert engine.info.slots == 1
    assert engine.info.image_side == 32


async def test_speed_is_measured_in_pixel_steps(engine: SupervisedEngine) -> None:
    """The node's advert and queue live on it."""
    speed = await engine.measure_speed()
    assert speed.decode_tokens_per_s > 0
    assert speed.ttft_s > 0


async def test_a_child_killed_in_the_middle_of_a_job(engine: SupervisedEngine) -> None:
    """The job fails with the cause, and the next one works."""
    pid = engine.pid
    assert pid is not None
    job = engine.generate(ImageRequest(**BASE | {"steps": 999}))
    assert isinstance(await anext(job), Progress)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineCrashed, match="SIGKILL"):
        [event async for event in job]
    await engine.wait_healthy()
    assert engine.restarts == 1
    assert len(_files(await _run(engine))) == 1


def _distance(first: bytes, second: bytes) -> float:
    """Return the mean difference of two pictures' pixels, 0 to 255."""
    one, other = (numpy.array(_open(data).convert("L"), dtype="float") for data in (first, second))
    return float(numpy.abs(one - other).mean())
