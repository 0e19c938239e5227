"""Images with diffusers: text-to-image, image-to-image and inpainting, one picture after the other."""

import inspect
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from PIL import Image

from gpunode_engines.backends import Emit
from gpunode_engines.backends.card_share import keep_to_share
from gpunode_engines.backends.image_files import MEDIA_TYPES, Picture, read_picture, write_picture
from gpunode_engines.backends.image_pipelines import Pipelines, load_pipeline, silence
from gpunode_engines.backends.image_previews import preview_of, to_picture
from gpunode_engines.backends.image_prompts import PromptCheck
from gpunode_engines.backends.output_blobs import emit_blob
from gpunode_engines.base import Finished, PreparedPrompt, Progress
from gpunode_engines.errors import BackendFailed, InvalidParameters, OutOfMemory
from gpunode_engines.ipc import Load, Loaded
from gpunode_engines.media import ImageRequest

_SEEDS: Final = 2**32


class _Cancelled(Exception):
    """Leaves a pipeline between two steps."""


class ImageBackend:
    """Implements ``Backend[ImageRequest, ImageRequest]``. A pipeline has state, so there is one job at a time."""

    def load(self, order: Load) -> Loaded:
        """Load a pipeline from the model's folder."""
        silence()
        torch.set_num_threads(order.options.threads)
        self._model = order.model
        device = torch.device("cuda" if order.options.use_gpu and torch.cuda.is_available() else "cpu")
        if device.type == "cuda":
            keep_to_share(torch, order.options)
        pipe = load_pipeline(Path(order.root), order.files, device)
        self._prompts = PromptCheck(pipe)
        self._pipelines = Pipelines(pipe, device, order.options.saving)
        return Loaded(
            backend_version=diffusers.__version__,
            context_tokens=0,
            slots=1,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            image_side=self._pipelines.limits.trained_side,
            saving=self._pipelines.saving,
        )

    def prepare(self, request: ImageRequest) -> PreparedPrompt:
        """Check what the model can do; input pictures may be missing."""
        limits = self._pipelines.limits
        limits.check_size(request.width, request.height)
        limits.scheduled_steps(request.steps, 1.0 if request.mode == "text" else request.strength)
        self._prompts.check("prompt", request.prompt)
        self._check_negative_prompt(request)
        return PreparedPrompt(token_ids=(), rendered=b"")

    def _check_negative_prompt(self, request: ImageRequest) -> None:
        if not request.negative_prompt:
            return
        if not self._pipelines.reads_negative_prompts:
            raise InvalidParameters("This model reads no negative prompt; leave it out.")
        if request.guidance <= 1:
            raise InvalidParameters(
                f"A negative prompt has no effect at guidance {request.guidance:g}; raise it above 1, or leave the "
                "negative prompt out."
            )
        self._prompts.check("negative_prompt", request.negative_prompt)

    def generate(self, request: ImageRequest, emit: Emit, cancelled: threading.Event) -> None:
        """Draw the pictures, tell each step, give each picture when it is done."""
        self.prepare(request)
        size = request.width, request.height
        inputs: dict[str, Picture] = {}
        if request.mode != "text":
            inputs["image"] = read_picture(request.image, "image", size)
        if request.mode == "inpaint":
            inputs["mask_image"] = read_picture(request.mask, "mask", size, "L")
        pipe = self._pipelines.of_mode(request.mode)
        seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        try:
            for number in range(request.n):
                step = self._step_callback(request, number, emit, cancelled)
                picture = self._draw(pipe, request, inputs, (seed + number) % _SEEDS, step)
                data = write_picture(picture, request.format, self._facts(request, (seed + number) % _SEEDS))
                emit_blob(emit, number, data, MEDIA_TYPES[request.format])
        except _Cancelled:
            emit(Finished(reason="cancelled", prompt_tokens=0, output_tokens=0))
        except torch.OutOfMemoryError as error:
            raise OutOfMemory("The GPU's memory did not suffice; ask for a smaller picture.") from error
        else:
            emit(Finished(reason="stop", prompt_tokens=0, output_tokens=0))
        finally:
            pipe.maybe_free_model_hooks()

    def _draw(
        self, pipe: Any, request: ImageRequest, inputs: Mapping[str, Picture], seed: int, step: Callable[..., Any]
    ) -> Picture:
        """Return one picture; the unmasked part of an inpainted one is the input's own."""
        strength = 1.0 if request.mode == "text" else request.strength
        arguments: dict[str, Any] = {
            "prompt": request.prompt,
            "num_inference_steps": self._pipelines.limits.scheduled_steps(request.steps, strength),
            "guidance_scale": request.guidance,
            # on the CPU, so that a seed means the same picture on every device
            "generator": torch.Generator("cpu").manual_seed(seed),
            "output_type": "pt",
            "callback_on_step_end": step,
            **inputs,
        }
        if request.negative_prompt:
            arguments["negative_prompt"] = request.negative_prompt
        if request.mode != "text":
            arguments["strength"] = strength
        parameters = inspect.signature(pipe.__call__).parameters
        optional = {
            "width": request.width,
            "height": request.height,
            "max_sequence_length": self._prompts.max_sequence_length,
        }
        arguments |= {name: value for name, value in optional.items() if name in parameters and value is not None}
        pixels = pipe(**arguments).images
        if not torch.isfinite(pixels).all():
            raise BackendFailed("The model's numbers overflowed; ask another node, or for another size.")
        picture = to_picture(pixels)
        if request.mode == "inpaint":
            return Image.composite(picture, inputs["image"], inputs["mask_image"])
        return picture

    def _step_callback(
        self, request: ImageRequest, number: int, emit: Emit, cancelled: threading.Event
    ) -> Callable[..., dict[str, Any]]:
        """Return what the pipeline calls after each step of one picture."""
        every = request.preview_every_steps if self._pipelines.plan.offload == "none" else 0

        def after_step(pipe: Any, index: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            if cancelled.is_set():
                raise _Cancelled
            # a scheduler of the second order calls twice a step
            done = min(request.steps, (index + 1) * request.steps // pipe.num_timesteps)
            preview = b""
            if every and done % every == 0:
                preview = preview_of(pipe, values["latents"], request.width, request.height)
            emit(Progress(step=number * request.steps + done, total=request.n * request.steps, preview=preview))
            return {}

        return after_step

    def _facts(self, request: ImageRequest, seed: int) -> dict[str, Any]:
        """Return what the file says of how it was made."""
        facts: dict[str, Any] = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "model": self._model,
            "seed": seed,
            "steps": request.steps,
            "guidance": request.guidance,
            "width": request.width,
            "height": request.height,
        }
        return facts if request.mode == "text" else facts | {"mode": request.mode, "strength": request.strength}
