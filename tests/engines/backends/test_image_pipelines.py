"""Model folders of the large families, and folders that are refused; in this process."""

import io
import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from gpunode_engines.backends.image_diffusers import ImageBackend
from gpunode_engines.backends.image_pipelines import choose_dtype
from gpunode_engines.base import Blob, Event, Finished, Progress
from gpunode_engines.errors import ContextOverflow, EngineStartFailed, InvalidParameters, UnreadableWeights
from gpunode_engines.ipc import BackendOptions, Load
from gpunode_engines.media import ImageRequest
from gpunode_protocol.tasks import Task
from PIL import Image, ImageChops

from tests.engines import tiny_pipelines

FAMILIES: dict[str, tuple[Callable[[Path], None], int]] = {
    "sdxl": (tiny_pipelines.save_sdxl, 64),
    "sd3": (tiny_pipelines.save_sd3, 64),
    "flux-schnell": (partial(tiny_pipelines.save_flux, distilled=True), 256),
    "flux-dev": (partial(tiny_pipelines.save_flux, distilled=False), 256),
}


def _load(folder: Path, saving: int = 0) -> ImageBackend:
    backend = ImageBackend()
    order = Load(
        task=Task.IMAGE_GEN,
        backend="diffusers",
        model=folder.name,
        root=str(folder),
        files=tuple(str(path) for path in folder.rglob("*") if path.is_file()),
        options=BackendOptions(context_tokens=0, slots=1, threads=1, use_gpu=False, saving=saving),
    )
    loaded = backend.load(order)
    assert (loaded.device, loaded.slots, loaded.saving) == ("cpu", 1, saving)
    return backend


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ImageBackend]:
    """A family's pipeline with random weights, loaded."""
    folder = tmp_path_factory.mktemp("models") / request.param
    FAMILIES[request.param][0](folder)
    return request.param, _load(folder)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # as below
def test_a_picture_in_less_memory(tmp_path: Path) -> None:
    """Decoded in tiles and with sliced attention, where memory ran out before: the same picture but for rounding."""
    tiny_pipelines.save_sdxl(tmp_path / "sdxl")
    pictures = [_draw(_load(tmp_path / "sdxl", saving)) for saving in (0, 2)]
    (low, high), *_ = ImageChops.difference(*pictures).getextrema()
    assert (low, high < 32) == (0, True)


def _draw(backend: ImageBackend) -> Image.Image:
    events: list[Event] = []
    request = ImageRequest(job_key="job", prompt="a lighthouse", width=64, height=64, steps=2, seed=1)
    backend.generate(request, events.append, threading.Event())
    (blob,) = [event for event in events if isinstance(event, Blob)]
    return Image.open(io.BytesIO(blob.data))


def _png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


# diffusers' Euler scheduler converts a tensor in a way that NumPy 2 warns of.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("mode", ["text", "image", "inpaint"])
def test_every_family_draws_in_every_mode(
    family: tuple[str, ImageBackend], mode: Literal["text", "image", "inpaint"]
) -> None:
    """With a preview each step, in exactly the steps that were asked for."""
    name, backend = family
    side = FAMILIES[name][1]
    request = ImageRequest(
        job_key="job", prompt="a lighthouse", width=side, height=side // 2, steps=2, mode=mode, strength=0.7, seed=1,
        image=b"" if mode == "text" else _png("red"), mask=_png("white") if mode == "inpaint" else b"",
        preview_every_steps=1,
    )  # fmt: skip
    events: list[Event] = []
    backend.generate(request, events.append, threading.Event())
    first, second, blob, end = events
    for number, step in enumerate((first, second), 1):
        assert isinstance(step, Progress)
        assert (step.step, step.total) == (number, 2)
        assert Image.open(io.BytesIO(step.preview)).size == (side, side // 2)
    assert isinstance(blob, Blob)
    assert Image.open(io.BytesIO(blob.data)).size == (side, side // 2)
    assert isinstance(end, Finished)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # as above
def test_a_cancel_costs_one_step_at_most(family: tuple[str, ImageBackend]) -> None:
    """Of the steps of all pictures none is told after it, and no picture is decoded."""
    name, backend = family
    side, events, cancelled = FAMILIES[name][1], list[Event](), threading.Event()

    def emit(event: Event) -> None:
        events.append(event)
        cancelled.set()

    request = ImageRequest(job_key="job", prompt="a lighthouse", width=side, height=side, steps=20, n=2, seed=1)
    backend.generate(request, emit, cancelled)
    first, end = events
    assert isinstance(first, Progress)
    assert (first.step, first.total) == (1, 40)
    assert end == Finished(reason="cancelled", prompt_tokens=0, output_tokens=0)


def test_negative_prompts_where_the_family_has_them(family: tuple[str, ImageBackend]) -> None:
    """FLUX would ignore them silently."""
    name, backend = family
    request = ImageRequest(
        job_key="job", prompt="a lighthouse", negative_prompt="fog", width=64, height=64, steps=1, guidance=4.0
    )
    if name.startswith("flux"):
        with pytest.raises(InvalidParameters, match="reads no negative prompt"):
            backend.prepare(request)
    else:
        backend.prepare(request)


def test_long_prompts_are_for_the_encoder_that_reads_them(family: tuple[str, ImageBackend]) -> None:
    """CLIP's 16 tokens do not bound a family that has T5 too."""
    name, backend = family
    request = ImageRequest(job_key="job", prompt="word " * 100, width=64, height=64, steps=1)
    if name == "sdxl":
        with pytest.raises(ContextOverflow, match="this model reads 16"):
            backend.prepare(request)
    else:
        backend.prepare(request)


def test_code_of_others_is_refused(tmp_path: Path) -> None:
    """A folder names the classes of its parts; only those of the two libraries are loaded."""
    for part, value in (("unet", ["subprocess", "Popen"]), ("_class_name", ["my_pipeline", "Pipeline"])):
        folder = tiny_pipelines.copy_digits(tmp_path / part)
        index: dict[str, Any] = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps(index | {part: value}))
        with pytest.raises(EngineStartFailed, match="that is not allowed"):
            _load(folder)


def test_a_folder_without_an_index(tmp_path: Path) -> None:
    """It is told what is missing."""
    folder = tiny_pipelines.copy_digits(tmp_path / "digits")
    (folder / "model_index.json").unlink()
    with pytest.raises(UnreadableWeights, match=r"model_index\.json cannot be read"):
        _load(folder)


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    """Neither where safetensors are missing, nor beside them."""
    folder = tiny_pipelines.copy_digits(tmp_path / "digits")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({"conv_in.weight": torch.zeros(1)}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(UnreadableWeights, match=r"diffusion_pytorch_model\.bin"):
        _load(folder)


def test_numbers_of_a_cpu() -> None:
    """Half precision is slow there."""
    assert choose_dtype(torch.device("cpu")) is torch.float32
