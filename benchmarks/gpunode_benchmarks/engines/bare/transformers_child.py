"""The library transformers alone in a process: ``generate``, as its documentation shows it. Run by ``bare_child``.

It loads ``{"model_path", "threads"}``. Orders: see ``bare.llamacpp_child``; prompts are completed one after the other.
"""

import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from gpunode_benchmarks.engines.bare.service import serve


def _load(load: dict[str, Any]) -> Any:
    torch.set_num_threads(load["threads"])
    return AutoModelForCausalLM.from_pretrained(load["model_path"], dtype=torch.float32, local_files_only=True)


def _run(model: Any, order: dict[str, Any]) -> float:
    """Complete the prompts and return the seconds that it took."""
    output_tokens = order["output_tokens"]
    started_at = time.perf_counter()
    for prompt in order["prompts"]:
        ids = torch.tensor([prompt])
        answer = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=output_tokens,
            min_new_tokens=output_tokens,
        )
        if answer.shape[1] != len(prompt) + output_tokens:
            raise SystemExit(f"generate gave {answer.shape[1] - len(prompt)} tokens instead of {output_tokens}.")
    return time.perf_counter() - started_at


if __name__ == "__main__":
    serve(_load, _run)
