"""The continuous batching of transformers (paged caches, flash attention where it is installed), used on CUDA.

The library samples with one setting for all requests but for temperature, top-k and top-p, and with one seed. So it is
given a processor of ours that chooses each request's token and leaves the library nothing else to take. That happens on
the host between two passes: passes are neither captured as CUDA graphs nor prepared ahead.
"""

import itertools
import threading
from typing import Any

import torch
from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig, LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)
from transformers.generation.continuous_batching.requests import FutureRequestState

from gpunode_engines.backends.token_job import TokenJob
from gpunode_engines.errors import BackendFailed, OutOfMemory
from gpunode_engines.out_of_memory import speaks_of_memory

_PAGE_TOKENS = 256
"""The library's default, tokens."""

_BATCH_TOKENS = 512
"""Tokens in one pass, prompts included; see ``llamacpp_server``."""

_NO_END_TOKEN = -1
"""The library takes this as "none": jobs end here, not there."""


class _Chooser(ContinuousBatchingLogitsProcessor):
    """Chooses the next token of every request that gets one, and hands it to its job."""

    ignored_kwargs = ()
    supported_kwargs = {}  # noqa: RUF012 -- the base class reads it from instances as from the class

    def __init__(self) -> None:
        self.jobs: dict[str, TokenJob] = {}
        self._order: list[str] = []

    def fill_defaults(self, int32_tensor: Tensor) -> None:
        """See the base class: the tensor has no meaning here."""
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: list[FutureRequestState]) -> Tensor:
        """Keep the order of the requests, which is that of the scores' rows."""
        self._order = [request.state.request_id for request in requests_with_new_token]
        return torch.zeros(len(self._order), dtype=torch.int32)

    def __call__(self, scores: Tensor, tensor_arg: Tensor) -> Tensor:  # noqa: ARG002 -- see the base class
        """Leave one finite score in each row. scores: shape (requests, vocabulary)."""
        chosen = [self._choose(key, row) for key, row in zip(self._order, scores, strict=False)]
        left = torch.full_like(scores, -torch.inf)
        index = torch.tensor(chosen, device=scores.device)
        left[torch.arange(len(chosen), device=scores.device), index] = 0
        return left

    def _choose(self, key: str, row: Tensor) -> int:
        """Return the job's token; any token for a job that has ended, until the library has dropped it."""
        job = self.jobs.get(key)
        if job is None or job.end_if_cancelled():
            return 0
        try:
            return job.advance(row)
        except Exception as error:  # noqa: BLE001 -- the job reports it, the others go on
            job.fail(error if isinstance(error, BackendFailed | OSError) else _failure(type(error).__name__))
            return 0


class LibraryBatch:
    """Runs jobs on one model; jobs share no cached prompts."""

    def __init__(self, model: Any, *, jobs: int, job_tokens: int) -> None:
        self._chooser = _Chooser()
        self._numbers = itertools.count()
        self._manager = _create_manager(model, self._chooser, jobs, job_tokens)
        self._manager.start()
        threading.Thread(target=self._watch, name="library-batch", daemon=True).start()

    def run(self, job: TokenJob) -> None:
        """See ``Batch``."""
        ids = [*job.request.prompt_ids, *job.request.resume_ids]
        job.progress(0, len(ids))
        # Never a key again: the library applies cancels after new requests, so a late one would hit its namesake.
        key = f"{next(self._numbers)}"
        self._chooser.jobs[key] = job
        try:
            accepted = self._manager.add_request(
                ids,
                request_id=key,
                max_new_tokens=job.request.max_tokens + 1,  # the job ends first
                eos_token_id=_NO_END_TOKEN,
            )
            if accepted is None:
                raise BackendFailed("The batching of transformers has ended; the job can be sent again.")
            job.wait()
        finally:
            self._manager.cancel_request(key)
            del self._chooser.jobs[key]

    def close(self) -> None:
        """End the library's thread, which keeps a process alive otherwise; jobs that run fail."""
        self._manager.stop(hard_stop=True)

    def _watch(self) -> None:
        """Fail jobs with what the library reports of them; when its thread has ended, all."""
        for output in self._manager:
            if output.error is not None and (job := self._chooser.jobs.get(output.request_id)) is not None:
                full = speaks_of_memory(str(output.error))
                job.fail(OutOfMemory() if full else _failure("an error of the batch"))
        for job in list(self._chooser.jobs.values()):
            job.fail(_failure("the end of its thread"))


def _create_manager(model: Any, chooser: _Chooser, jobs: int, job_tokens: int) -> Any:
    pages = jobs * (-(-job_tokens // _PAGE_TOKENS) + 1)
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=_NO_END_TOKEN),
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=_PAGE_TOKENS,
            num_blocks=pages,
            max_batch_tokens=_BATCH_TOKENS,
            max_requests_per_batch=jobs,
            allow_block_sharing=False,  # prompts of one client are nobody else's business
            use_async_batching=False,
            use_cuda_graph=False,
        ),
    )
    processors = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([chooser]))
    processors.tensors_required = 1
    manager.logit_processor = processors
    return manager


def _failure(what: str) -> BackendFailed:
    return BackendFailed(f"transformers failed with {what}; the job can be sent again.")
