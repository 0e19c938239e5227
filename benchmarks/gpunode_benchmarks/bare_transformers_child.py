"""The library transformers alone in a process: ``generate``, as its documentation shows it. Run by ``bare_library``.

First argument: ``BareLoad`` as JSON. Input and output: see ``bare_llamacpp_child``; prompts are completed one after the
other.
"""

import json
import os
import sys
import time
from typing import Any, TextIO

import torch
from transformers import AutoModelForCausalLM


def main() -> None:
    """Serve standard input."""
    answers = _own_stdout()
    load = json.loads(sys.argv[1])
    torch.set_num_threads(load["threads"])
    model = AutoModelForCausalLM.from_pretrained(load["model_path"], dtype=torch.float32, local_files_only=True)
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        _answer(answers, {"elapsed_s": _run(model, order["prompts"], order["output_tokens"])})


def _own_stdout() -> TextIO:
    """Keep standard output for the answers: whatever the library prints goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _answer(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _run(model: Any, prompts: list[list[int]], output_tokens: int) -> float:
    """Complete the prompts and return the seconds that it took."""
    started_at = time.perf_counter()
    for prompt in prompts:
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
    main()
