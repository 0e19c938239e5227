"""A backend that computes nothing: it puts out tokens at fixed times, so that only what carries them is measured.

No node can be told to serve it: it is not in the catalogue, and its name, ``module:Class``, is known to the benches
and tests alone. It runs in a real engine's child process, chosen by ``overhead_engines.PacedEngine``.
"""

import importlib.metadata
import os
import threading
import time

from gpunode_engines.backends import Emit
from gpunode_engines.base import Finished, FinishReason, GenerateRequest, PreparedPrompt, PrepareRequest, Tokens
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.ipc import Load, Loaded

from gpunode_benchmarks.time_words import word_of

BACKEND = "gpunode_benchmarks.paced_backend:PacedBackend"
INTERVAL_VARIABLE = "PACED_TOKEN_INTERVAL_MS"
"""Environment of the child: milliseconds from one token of a job to its next."""
PREFILL_VARIABLE = "PACED_PREFILL_MS"
"""Milliseconds for each token of the prompt; 0 = the first token comes after one interval, however long it is."""
TOKEN_BYTES = 4
"""Of a prompt. Clients reckon with as much before a node has counted."""

_FIRST_WORD_ID = 1000


class PacedBackend:
    """Implements ``Backend``. Each token's text tells when it was put out (``time_words``)."""

    def load(self, order: Load) -> Loaded:
        """Read the pace; there are no weights."""
        self._interval_s = float(os.environ[INTERVAL_VARIABLE]) / 1000
        self._prefill_s = float(os.environ[PREFILL_VARIABLE]) / 1000
        return Loaded(
            backend_version=importlib.metadata.version("gpunode"),
            context_tokens=order.options.context_tokens,
            slots=order.options.slots,
            device="cpu",
        )

    def prepare(self, request: PrepareRequest) -> PreparedPrompt:
        """Take every four bytes as a token."""
        if not request.messages:
            raise InvalidParameters("There are no messages; send at least one.")
        rendered = "".join(message.content for message in request.messages).encode()
        return PreparedPrompt(token_ids=tuple(rendered[::TOKEN_BYTES]), rendered=rendered)

    def generate(self, request: GenerateRequest, emit: Emit, cancelled: threading.Event) -> None:
        """Put out ``max_tokens`` tokens; a late one does not delay those after it. Resumed, it counts on."""
        started_at = time.monotonic()
        first_id, count = _FIRST_WORD_ID + len(request.resume_ids), 0
        read_s = self._prefill_s * (len(request.prompt_ids) + len(request.resume_ids)) or self._interval_s
        while count < request.max_tokens:
            due_at = started_at + read_s + count * self._interval_s
            if cancelled.wait(max(0.0, due_at - time.monotonic())):
                break
            emit(Tokens(ids=(first_id + count,), text=word_of(time.monotonic())))
            count += 1
        reason: FinishReason = "length" if count == request.max_tokens else "cancelled"
        emit(Finished(reason=reason, prompt_tokens=len(request.prompt_ids), output_tokens=count))
