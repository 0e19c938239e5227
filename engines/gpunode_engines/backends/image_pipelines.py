"""Loading a diffusers pipeline, and the three kinds of it that share one set of weights."""

import copy
import inspect
import math
from pathlib import Path
from typing import Any, Final, Literal

import diffusers
import psutil  # type: ignore[import-untyped]  # -- ships no annotations
import torch
import transformers

from gpunode_engines.errors import EngineStartFailed
from gpunode_engines.image_memory import MemoryNeed, MemoryPlan, decode_need, memory_plans, plan_memory
from gpunode_engines.image_sizes import ImageLimits
from gpunode_engines.json_object import read_object
from gpunode_engines.pickles import refuse_pickles

Mode = Literal["text", "image", "inpaint"]

_AUTO: Final = {
    "text": diffusers.AutoPipelineForText2Image,
    "image": diffusers.AutoPipelineForImage2Image,
    "inpaint": diffusers.AutoPipelineForInpainting,
}
_LIBRARIES: Final = frozenset({"diffusers", "transformers"})
_SAFETY: Final = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that are left out: they only serve a content filter and image prompts."""
_PROTOCOL_MULTIPLE: Final = 8


def silence() -> None:
    """Let the libraries write errors only: their warnings quote prompts, and nobody sees their progress bars."""
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def choose_dtype(device: torch.device) -> torch.dtype:
    """Return float32 on CPUs; on GPUs bfloat16 where the hardware has it, else float16."""
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def load_pipeline(root: Path, files: tuple[str, ...], device: torch.device) -> Any:
    """Load a pipeline's weights into RAM from a folder in diffusers' layout; safetensors only, no remote code.

    Raises:
        UnreadableWeights: the folder has pickled weights or no index. EngineStartFailed: it names code that is not
            diffusers' or transformers' own.
    """
    refuse_pickles([Path(name) for name in files])
    index = _read_index(root)
    kept_out: dict[str, Any] = {name: None for name in _SAFETY if name in index}
    if "safety_checker" in index:
        kept_out["requires_safety_checker"] = False
    half = any(name.endswith(".fp16.safetensors") for name in files)
    pipe = diffusers.AutoPipelineForText2Image.from_pretrained(  # type: ignore[no-untyped-call]  # -- their annotations lack it
        str(root),
        dtype=choose_dtype(device),
        variant="fp16" if half else None,
        use_safetensors=True,
        local_files_only=True,
        **kept_out,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _read_index(root: Path) -> dict[str, Any]:
    """Return model_index.json; every component must come from one of the two libraries."""
    index = read_object(root / "model_index.json")
    for name, value in index.items():
        if name in _SAFETY or name.startswith("_") or not isinstance(value, list):
            continue
        if value[:1] and value[0] not in _LIBRARIES | {None}:
            raise EngineStartFailed(f"{root.name} wants code of {value[0]} for its {name}; that is not allowed.")
    if not isinstance(index.get("_class_name"), str):
        raise EngineStartFailed(f"{root.name} wants a pipeline of its own code; that is not allowed.")
    return index


class Pipelines:
    """One set of weights as text-to-image, image-to-image and inpainting; used by one thread at a time.

    Args:
        pipe: text-to-image, in RAM.
        device: where it shall run.
        saving: see ``BackendOptions``.
    """

    def __init__(self, pipe: Any, device: torch.device, saving: int = 0) -> None:
        self.limits = _limits(pipe)
        self.reads_negative_prompts = _reads_negative_prompts(pipe)
        self.plan = _plan(pipe, device, self.limits, saving)
        self.saving = memory_plans(on_gpu=device.type != "cpu").index(self.plan)
        self._device = device
        self._mode: Mode = "text"
        self._pipe = pipe
        self._scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        self._place()

    def of_mode(self, mode: Mode) -> Any:
        """Return the pipeline of a mode with a scheduler that no earlier job has touched."""
        if mode != self._mode:
            if self.plan.offload != "none":
                self._pipe.remove_all_hooks()
            self._pipe = _AUTO[mode].from_pipe(self._pipe)
            self._pipe.set_progress_bar_config(disable=True)
            self._mode = mode
            if self.plan.offload != "none":
                self._place()
        self._pipe.scheduler = copy.deepcopy(self._scheduler)  # a fifth of what making one takes
        return self._pipe

    def _place(self) -> None:
        """Move the weights to where the plan wants them."""
        pipe, plan = self._pipe, self.plan
        if plan.offload == "model":
            pipe.enable_model_cpu_offload(device=self._device)
        elif plan.offload == "sequential":
            pipe.enable_sequential_cpu_offload(device=self._device)
        else:
            pipe.to(self._device)
        if plan.vae_tiling:
            pipe.vae.enable_tiling()
        if plan.attention_slicing:
            pipe.enable_attention_slicing(1)


def _limits(pipe: Any) -> ImageLimits:
    factor = int(pipe.vae_scale_factor)
    denoiser = _denoiser(pipe)
    sample = getattr(pipe, "default_sample_size", None) or denoiser.config.sample_size
    trained = max(sample) if isinstance(sample, list | tuple) else sample
    patch = int(getattr(pipe, "patch_size", 1) or 1)
    multiples = (int(pipe.image_processor.config.vae_scale_factor), factor * patch, _PROTOCOL_MULTIPLE)
    return ImageLimits(
        multiple=math.lcm(*multiples),
        trained_side=int(trained) * factor,
        max_steps=_max_steps(pipe.scheduler.config),
        rounds_steps_up=isinstance(pipe.scheduler, diffusers.FlowMatchEulerDiscreteScheduler),
    )


def _max_steps(config: Any) -> int:
    """Return the longest schedule: an offset that is added to all steps may not lead beyond the trained ones."""
    offset = config.get("steps_offset", 0) if config.get("timestep_spacing") == "leading" else 0
    return int(config.num_train_timesteps - offset)


def _denoiser(pipe: Any) -> Any:
    return getattr(pipe, "unet", None) or pipe.transformer


def _reads_negative_prompts(pipe: Any) -> bool:
    """FLUX is distilled with its guidance: it has a negative prompt only in a second, slower mode (true_cfg_scale)."""
    parameters = inspect.signature(pipe.__call__).parameters
    return "negative_prompt" in parameters and "true_cfg_scale" not in parameters


def _plan(pipe: Any, device: torch.device, limits: ImageLimits, saving: int) -> MemoryPlan:
    sizes = [_weights_bytes(part) for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    vae = pipe.vae
    decode_bytes, tiled_bytes = decode_need(
        limits.max_pixels,
        tile_side=int(getattr(vae, "tile_sample_min_size", limits.trained_side)),
        bytes_per_value=vae.dtype.itemsize,
    )
    need = MemoryNeed(
        weights_bytes=sum(sizes), largest_bytes=max(sizes), decode_bytes=decode_bytes, tiled_bytes=tiled_bytes
    )
    if device.type == "cpu":  # where the weights are already
        free_bytes = psutil.virtual_memory().available + need.weights_bytes
    else:
        free_bytes = torch.cuda.mem_get_info(device)[0]
    return plan_memory(need, free_bytes=free_bytes, on_gpu=device.type != "cpu", saving=saving)


def _weights_bytes(module: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
