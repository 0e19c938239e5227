"""What the tracker says at this moment, asked once for all checks; nothing is pinned or kept."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from gpunode_protocol.clock_offset import offset_to_tracker
from gpunode_protocol.diagnosis import Subject
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.tracker_api import NetworkInfo

from gpunode._state import StateDir, TrackerState
from gpunode._tracker import TrackerClient, trusted_by
from gpunode.config import ClientConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """The tracker's word, unverified. clock_offset_s: by how much this clock is ahead. round_trip_s: > 0."""

    info: NetworkInfo
    clock_offset_s: float
    round_trip_s: float


class TrackerFacts:
    """Asks lazily, from any thread.

    Args:
        subject: whose settings count.
        clock: Unix seconds.
    """

    def __init__(self, subject: Subject, clock: Callable[[], float] = time.time) -> None:
        self._subject = subject
        self._clock = clock
        self._lock = threading.Lock()
        self._answer: Answer | GpunodeError | None = None

    @property
    def has_tracker(self) -> bool:
        """Whether a tracker is set."""
        return bool(self._subject.tracker)

    def config(self) -> ClientConfig:
        """Return the client's settings.

        Raises:
            InvalidSettings: they cannot be used.
        """
        subject = self._subject
        return ClientConfig.load(
            {
                "tracker": subject.tracker,
                "ca_file": subject.ca_file,
                "insecure": subject.insecure,
                "api_key_file": subject.api_key_file,
                "state_dir": subject.state_dir,
            }
        )

    def check_settings(self) -> None:
        """Check the client's settings, and the file of authorities that they name. Raises InvalidSettings."""
        trusted_by(self.config().ca_file)

    def state(self) -> tuple[StateDir, TrackerState]:
        """Return where the client keeps its key, and what it knows of this tracker."""
        config = self.config()
        folder = StateDir(config.state_dir)
        return folder, folder.tracker(config.tracker_url())

    def ask(self, call: Callable[[TrackerClient], Awaitable[T]]) -> T:
        """Make one call to the tracker, once.

        Raises:
            ClientError: the settings cannot be used, no answer, or a refusal.
        """
        config = self.config()

        async def asked() -> T:
            tracker = TrackerClient.from_config(config, attempts=1)
            try:
                return await call(tracker)
            finally:
                await tracker.close()

        return asyncio.run(asked())

    def answer(self) -> Answer:
        """Return the network info with the time that it took.

        Raises:
            ClientError: there is none; each caller gets the same error.
        """
        with self._lock:
            if self._answer is None:
                try:
                    self._answer = self.ask(self._timed)
                except GpunodeError as error:
                    self._answer = error
        if isinstance(self._answer, GpunodeError):
            raise self._answer
        return self._answer

    async def _timed(self, tracker: TrackerClient) -> Answer:
        asked_at = self._clock()
        info = await tracker.network()
        answered_at = self._clock()
        return Answer(info, offset_to_tracker(asked_at, answered_at, info.time), answered_at - asked_at)
