"""The library diffusers alone in a process. Run by ``bare_child``.

Its settings are the library's own, but for what must be equal on both sides: model, float32, CPU threads. It loads
``{"root", "threads"}``; each order, ``{"prompt", "width", "height", "steps", "guidance", "seed"}``, is one picture,
drawn and written as PNG into memory.
"""

import io
import time
from typing import Any

import diffusers
import torch

from gpunode_benchmarks.engines.bare.service import serve


def _load(load: dict[str, Any]) -> Any:
    torch.set_num_threads(load["threads"])
    pipe = diffusers.AutoPipelineForText2Image.from_pretrained(  # type: ignore[no-untyped-call]  # -- no annotations
        load["root"], dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _draw(pipe: Any, order: dict[str, Any]) -> float:
    started_at = time.perf_counter()
    picture = pipe(
        prompt=order["prompt"],
        width=order["width"],
        height=order["height"],
        num_inference_steps=order["steps"],
        guidance_scale=order["guidance"],
        generator=torch.Generator("cpu").manual_seed(order["seed"]),
    ).images[0]
    picture.save(io.BytesIO(), "PNG")
    return time.perf_counter() - started_at


if __name__ == "__main__":
    serve(_load, _draw)
