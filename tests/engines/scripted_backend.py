"""A backend for tests of worker, session and supervisor: a token is one byte, and the prompt says what happens.

The child imports it by path (``PYTHONPATH`` is this folder); it needs no ML library.
"""

import errno
import os
import signal
import threading
import time
from pathlib import Path

from gpunode_engines.backends import Emit
from gpunode_engines.base import Finished, GenerateRequest, PreparedPrompt, PrepareRequest, Progress, Tokens
from gpunode_engines.errors import ContextOverflow, EngineStartFailed
from gpunode_engines.ipc import Load, Loaded

PATH = "scripted_backend:ScriptedBackend"


GORGED_BYTES = 256 * 1024 * 1024
SLOT_BYTES = 32 * 1024 * 1024
"""What a slot of the model "hungry" takes."""


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


class ScriptedBackend:
    """Implements ``Backend``.

    Models: fails, exits, sleeps, too large, hungry. Prompts: crash, hang, raise, overflow, flood, endless, gorge, card
    full, EACCES, EPERM.
    """

    def load(self, order: Load) -> Loaded:
        """Behave as the model's name says."""
        if order.model == "fails":
            raise EngineStartFailed("these weights are upside down")
        if order.model == "too large":
            raise MemoryError
        if order.model == "hungry":
            self._hoard = b"x" * (order.options.slots * SLOT_BYTES)
        if order.model == "exits":
            os.write(2, b"last words\n")
            os._exit(7)
        if order.model == "sleeps":
            threading.Event().wait()
        if order.model == "stops":
            os.kill(os.getpid(), signal.SIGSTOP)
        return Loaded(
            backend_version="1.2.3",
            context_tokens=order.options.context_tokens,
            slots=order.options.slots,
            saving=order.options.saving,
            device="cpu",
        )

    def prepare(self, request: PrepareRequest) -> PreparedPrompt:
        """Return the last message's bytes, or the environment, folder or limits when asked for."""
        text = request.messages[-1].content
        if text == "environment":
            text = "\n".join(f"{name}={value}" for name, value in sorted(os.environ.items()))
        elif text == "folder":
            text = str(Path.cwd())
        elif text == "status":
            text = Path("/proc/self/status").read_text()
        elif text == "crash":
            os._exit(4)
        elif text == "raise":
            raise RuntimeError("secret prompt")
        elif text == "EACCES":
            raise PermissionError(errno.EACCES, "refused", "a secret name")
        elif text == "sleep":
            time.sleep(3600)
        return PreparedPrompt(token_ids=tuple(text.encode()), rendered=text.encode())

    def generate(self, request: GenerateRequest, emit: Emit, cancelled: threading.Event) -> None:
        """Echo the prompt, or behave as it says."""
        prompt = bytes(request.prompt_ids).decode()
        emit(Progress(step=1, total=1))
        if prompt == "crash":
            os._exit(3)
        elif prompt == "hang":
            threading.Event().wait()
        elif prompt == "raise":
            raise RuntimeError("secret prompt")
        elif prompt == "overflow":
            raise ContextOverflow("too long")
        elif prompt == "gorge":
            hoard = b"x" * GORGED_BYTES
            threading.Event().wait(len(hoard))
        elif prompt == "card full":
            raise OutOfMemoryError("secret prompt")
        elif prompt in {"EACCES", "EPERM"}:
            raise OSError(getattr(errno, prompt), "refused", "a secret name")
        sent = 0
        for token_id in request.prompt_ids if prompt != "endless" else iter(lambda: 46, 0):
            if cancelled.wait(0.001 if prompt == "endless" else 0):
                emit(Finished(reason="cancelled", prompt_tokens=len(request.prompt_ids), output_tokens=sent))
                return
            sent += 1
            emit(Tokens(ids=(token_id,), text=chr(token_id) * (100_000 if prompt == "flood" else 1)))
        emit(Finished(reason="stop", prompt_tokens=len(request.prompt_ids), output_tokens=sent))
