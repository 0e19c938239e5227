"""Backends: the only modules that import ML libraries. They run in engine child processes, never in the node.

Here: what a backend implements, in blocking code.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from gpunode_engines.base import Event, GenerateRequest, PreparedPrompt, PrepareRequest
from gpunode_engines.ipc import Load, Loaded

Emit = Callable[[Event], None]


class Backend(Protocol):
    """One loaded model in this process. ``prepare`` and ``generate`` are called from several threads at once."""

    def load(self, order: Load) -> Loaded:
        """Load the model; called once, before anything else. Any exception ends the child with its text."""
        ...

    def prepare(self, request: PrepareRequest) -> PreparedPrompt:
        """Render and tokenise. Raises EngineError."""
        ...

    def generate(self, request: GenerateRequest, emit: Emit, cancelled: threading.Event) -> None:
        """Run a job, ``emit`` its events up to Finished; end within one token once ``cancelled`` is set.

        Raises:
            EngineError: instead of Finished.
        """
        ...
