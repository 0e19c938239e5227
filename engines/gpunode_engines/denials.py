"""The record of what the sandbox refused to an engine."""

import logging
import threading
from collections import Counter

logger = logging.getLogger(__name__)


class Denials:
    """Counts by kind of act; may be used from any thread. The log gets the first, the 10th, the 100th and so on."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """How much was refused in all."""
        with self._lock:
            return self._counts.total()

    def record(self, act: str) -> None:
        """Count one act, for example the name of a system call."""
        with self._lock:
            self._counts[act] += 1
            count = self._counts[act]
        if str(count).strip("0") == "1":
            logger.warning(
                "the sandbox refused the engine of %s: %s (%d in all)",
                self._model,
                act,
                count,
                extra={"event": "engine_denied", "model": self._model, "act": act, "count": count},
            )
