"""How long a job may run: what it was given, and less once the engine knows how much there is to do."""

import asyncio
from collections.abc import Callable

from gpunode_engines.base import Event, GenerateRequest, Progress, WorkRequest
from gpunode_engines.errors import TimeLimit
from gpunode_engines.media import SPEECH_BASE_S, SpeechRequest

_MS_PER_S = 1_000


class JobDeadline:
    """Fails a job when its time is up. Whoever makes it cancels it.

    Args:
        request: the job.
        limit_s: wall clock from now on, seconds.
        fail: what is done then.
    """

    def __init__(self, request: WorkRequest, limit_s: float, fail: Callable[[TimeLimit], None]) -> None:
        self._request = request
        self._limit_s = limit_s
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self._timer = self._loop.call_later(limit_s, self._is_over)

    def note(self, event: Event) -> None:
        """Take note of what a job gives: the length of an audio file bounds its time, see ``SPEECH_BASE_S``."""
        if isinstance(self._request, SpeechRequest) and isinstance(event, Progress) and event.step == 0:
            limit_s = SPEECH_BASE_S + event.total / _MS_PER_S
            if limit_s < self._limit_s:
                self._limit_s = limit_s
                self._timer.cancel()
                self._timer = self._loop.call_at(self._began_at + limit_s, self._is_over)

    def cancel(self) -> None:
        """Let the job be. Idempotent."""
        self._timer.cancel()

    def _is_over(self) -> None:
        advice = "lower max_tokens" if isinstance(self._request, GenerateRequest) else "ask for less"
        self._fail(TimeLimit(f"The job took longer than {self._limit_s:g} s; {advice}."))
