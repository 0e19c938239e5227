"""Backends: the only modules that import ML libraries. They run in engine child processes, never in the node.

Here: what a backend implements, in blocking code.
"""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from gpunode_engines.base import Event, PreparableRequest, PreparedPrompt, WorkRequest
from gpunode_engines.ipc import Load, Loaded

Emit = Callable[[Event], None]

P_contra = TypeVar("P_contra", bound=PreparableRequest, contravariant=True)
W_contra = TypeVar("W_contra", bound=WorkRequest, contravariant=True)


class Backend(Protocol[P_contra, W_contra]):
    """One loaded model in this process. ``prepare`` and ``generate`` are called from several threads at once.

    Its type says what it takes: ``Backend[PrepareRequest, GenerateRequest]`` serves text.
    """

    def load(self, order: Load) -> Loaded:
        """Load the model; called once, before anything else. Any exception ends the child with its text."""
        ...

    def prepare(self, request: P_contra) -> PreparedPrompt:
        """Render and tokenise, or check what the model can do. Raises EngineError."""
        ...

    def generate(self, request: W_contra, emit: Emit, cancelled: threading.Event) -> None:
        """Run a job, ``emit`` its events up to Finished; end within one token or step once ``cancelled`` is set.

        Raises:
            EngineError: instead of Finished.
        """
        ...
