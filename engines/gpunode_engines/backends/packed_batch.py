"""Continuous batching on a CPU: one forward pass serves all jobs, which join and leave between passes.

Why not the library's own: docs/decisions/0008.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch

from gpunode_engines.backends.packed_attention import ATTENTION, RowCaches, Span, Step, check_supported
from gpunode_engines.backends.slots import SlotTable
from gpunode_engines.backends.token_job import TokenJob
from gpunode_engines.errors import BackendFailed, OutOfMemory
from gpunode_engines.out_of_memory import ran_out

_PROMPT_TOKENS_PER_STEP = 128
"""Prompt tokens in one pass, for the same reason as in ``llamacpp_server``: other streams wait for one pass, and a
cancel takes effect after it."""


@dataclass(slots=True)
class _Run:
    """A job in its row. ids: prompt, then the answer so far. cached: how many of them the row holds."""

    job: TokenJob
    row: int
    ids: list[int]
    cached: int


class PackedBatch:
    """Runs jobs on one model. ``run`` is called from a thread each; one thread of its own computes."""

    def __init__(self, model: Any, *, rows: int, row_tokens: int, threads: int) -> None:
        """Raises EngineStartFailed when the model's attention is not supported."""
        check_supported(model.config)
        model.set_attn_implementation(ATTENTION)
        self._model = model
        self._threads = threads
        self._caches = RowCaches(model.config, rows=rows, row_tokens=row_tokens, dtype=model.dtype)
        self._row_ids: list[list[int]] = [[] for _ in range(rows)]
        self._slots = SlotTable(rows)
        self._joining: list[_Run] = []
        self._joined = threading.Condition()
        with torch.inference_mode():
            self._forward([0], Step(self._caches, [Span(0, 0, 1)]), torch.tensor([0]))  # says what it cannot compute
        threading.Thread(target=self._serve, name="packed-batch", daemon=True).start()

    def run(self, job: TokenJob) -> None:
        """See ``Batch``."""
        ids = [*job.request.prompt_ids, *job.request.resume_ids]
        with self._slots.lease(job.request.cache_owner) as lease:
            known = self._row_ids[lease.slot] if lease.reuse_cache else []
            # The last token is always computed: the next one comes from its logits.
            cached = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(known, ids[:-1], strict=False)))
            del self._row_ids[lease.slot][cached:]
            job.progress(cached, len(ids))
            with self._joined:
                self._joining.append(_Run(job, lease.slot, ids, cached))
                self._joined.notify()
            job.wait()

    def _serve(self) -> None:
        torch.set_num_threads(self._threads)  # each thread has a setting of its own
        runs: list[_Run] = []
        with torch.inference_mode():
            while True:
                runs += self._arrivals(wait=not runs)
                runs = [run for run in runs if not run.job.end_if_cancelled()]
                try:
                    self._step(runs)
                except Exception as error:  # noqa: BLE001 -- thread boundary: the jobs report it, the thread goes on
                    for run in runs:
                        run.job.fail(_failure(error))
                runs = [run for run in runs if not run.job.ended]

    def _arrivals(self, *, wait: bool) -> list[_Run]:
        """Return the jobs that came since the last call. wait: for one, if there is none."""
        with self._joined:
            if wait:
                self._joined.wait_for(lambda: bool(self._joining))
            arrivals, self._joining = self._joining, []
            return arrivals

    def _step(self, runs: Sequence[_Run]) -> None:
        """Compute one pass: the next token of every answer, and a part of the prompts that are not read yet."""
        planned = _plan(runs)
        if not planned:
            return
        step = Step(self._caches, [Span(run.row, run.cached, count) for run, count in planned])
        ids = [token_id for run, count in planned for token_id in run.ids[run.cached : run.cached + count]]
        ends = torch.tensor([count for _, count in planned]).cumsum(0) - 1
        complete = [run.cached + count == len(run.ids) for run, count in planned]
        rows = iter(self._forward(ids, step, ends[torch.tensor(complete)]))
        for (run, count), is_complete in zip(planned, complete, strict=True):
            self._row_ids[run.row] += run.ids[run.cached : run.cached + count]
            run.cached += count
            if is_complete:
                _advance(run, next(rows))
            else:
                run.job.progress(run.cached, len(run.ids))

    def _forward(self, ids: Sequence[int], step: Step, wanted: torch.Tensor) -> torch.Tensor:
        """Compute a step of these tokens; return the logits after those at the wanted places, one row each."""
        logits: torch.Tensor = self._model(
            input_ids=torch.tensor([ids]),
            position_ids=step.positions.unsqueeze(0),
            use_cache=False,
            logits_to_keep=wanted,
            step=step,
        ).logits[0]
        return logits


def _plan(runs: Sequence[_Run]) -> list[tuple[_Run, int]]:
    """Return how many tokens of each job go into the next pass: one of each answer, prompts in order of arrival."""
    planned = []
    left = _PROMPT_TOKENS_PER_STEP
    for run in runs:
        waiting = len(run.ids) - run.cached
        count = min(waiting, left) if waiting > 1 else 1
        if count > 0:
            planned.append((run, count))
        if waiting > 1:
            left -= count
    return planned


def _advance(run: _Run, logits: torch.Tensor) -> None:
    """Take the next token; a job that fails here does no harm to the others."""
    try:
        run.ids.append(run.job.advance(logits))
    except Exception as error:  # noqa: BLE001 -- the job reports it
        run.job.fail(_failure(error))


def _failure(error: Exception) -> Exception:
    """Return what a job reports; of a library's error the type only, its text may quote a prompt."""
    if isinstance(error, BackendFailed | OSError):
        return error
    if ran_out(error):
        return OutOfMemory()
    return BackendFailed(f"The model failed with {type(error).__name__}; try again.")
