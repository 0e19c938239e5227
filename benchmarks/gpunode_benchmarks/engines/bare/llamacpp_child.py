"""The library xllamacpp alone in a process. Run by ``bare_child``.

Its settings are the library's own, but for what must be equal on both sides: model, slots, context, CPU threads, no
cached prompts. It loads ``{"model_path", "slots", "context_tokens", "threads"}``, the context of one slot; each order,
``{"prompts": [[token ids], …], "output_tokens": n}``, runs all prompts at once with exactly so many tokens each.
"""

import threading
import time
from typing import Any

import xllamacpp

from gpunode_benchmarks.engines.bare.service import serve

_ERRORS_ONLY = 1


def _load(load: dict[str, Any]) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = load["model_path"]
    parameters.offline = True
    parameters.n_parallel = load["slots"]
    parameters.n_ctx = load["context_tokens"] * load["slots"]
    parameters.fit_params = False
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = load["threads"]
    parameters.cpuparams_batch.n_threads = load["threads"]
    parameters.cache_ram_mib = 0
    parameters.cache_idle_slots = False
    parameters.slot_prompt_similarity = 0.0
    parameters.verbosity = _ERRORS_ONLY
    return xllamacpp.Server(parameters)


def _run(server: Any, order: dict[str, Any]) -> float:
    """Run all prompts at once, a thread each, and return the seconds until the last one has ended."""
    prompts = order["prompts"]
    reasons: list[str | None] = [None] * len(prompts)

    def complete(index: int) -> None:
        def on_chunk(chunk: dict[str, Any]) -> None:
            reasons[index] = chunk["choices"][0]["finish_reason"]

        server.handle_completions(_body(prompts[index], order["output_tokens"]), on_chunk)

    threads = [threading.Thread(target=complete, args=(index,)) for index in range(len(prompts))]
    started_at = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - started_at
    if any(reason != "length" for reason in reasons):
        raise SystemExit(f"A completion ended with {reasons} instead of all its tokens.")
    return elapsed_s


def _body(prompt: list[int], output_tokens: int) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "n_predict": output_tokens,
        "stream": True,
        "temperature": 0.0,
        "ignore_eos": True,
        "cache_prompt": False,
    }


if __name__ == "__main__":
    serve(_load, _run)
