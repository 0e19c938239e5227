"""Tells the tracker what a job gives on its way: text and progress, a few times a second. That renews the lease."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from gpunode_protocol.framing import FrameParser
from gpunode_protocol.job_results import ResultReader
from gpunode_protocol.jobs_api import JobEventName, WorkerEvent
from gpunode_protocol.messages import NODE_FRAMES, ProgressFrame, SegmentFrame, TokensFrame, decode_frame

from gpunode_node.errors import TrackerBusy, TrackerRefused, TrackerUnreachable
from gpunode_node.job_run import JobRun
from gpunode_node.pull.worker_link import LOST_STATUSES

logger = logging.getLogger(__name__)

TELL_INTERVAL_S: Final = 0.25
MAX_TEXT_CHARS: Final = 100_000
"""Of one event, see ``WorkerEvent``."""

_TOLD: Final = (TokensFrame, SegmentFrame, ProgressFrame)

Tell = Callable[[WorkerEvent], Awaitable[None]]
"""Posts one event; raises TrackerUnreachable or TrackerRefused."""


class JobTeller:
    """Tells of one job.

    Args:
        attempt: of the job.
        tell: posts an event.
    """

    def __init__(self, attempt: int, tell: Tell) -> None:
        self._attempt = attempt
        self._tell = tell
        self._parser = FrameParser()
        self._reader: ResultReader | None = None
        self._cursor = 0
        self._text = ""
        self._progress: tuple[int, int] | None = None
        self.lost = False  #: the tracker says that the job is another's, or has ended

    async def follow(self, run: JobRun) -> None:
        """Tell until the job is over, or ``lost``."""
        clock = asyncio.get_running_loop().time
        next_at = clock()
        while not self.lost:
            self._read(run)
            if run.job.is_over:
                while self._has_news and await self._post():
                    pass
                return
            if not self._has_news:
                await run.bell.wait()
            elif clock() < next_at:
                await run.bell.wait(next_at - clock())
            else:
                next_at = clock() + TELL_INTERVAL_S
                await self._post()

    @property
    def _has_news(self) -> bool:
        return bool(self._text) or self._progress is not None

    def _read(self, run: JobRun) -> None:
        """Note what the new frames say, in the words that a mesh node's client would be told."""
        frames = run.job.frames
        reader = self._reader = self._reader or ResultReader(run.request.body.read_params())
        while self._cursor < len(frames):
            for payload in self._parser.feed(frames[self._cursor]):
                message = decode_frame(payload, NODE_FRAMES)
                told = reader.take(message) if isinstance(message, _TOLD) else None
                match told:
                    case JobEventName.TOKENS, {"text": str(text)}:
                        self._text += text
                    case JobEventName.PROGRESS, {"step": int(step), "total": int(total)}:
                        self._progress = step, total
            self._cursor += 1

    async def _post(self) -> bool:
        """Post what there is, at most one event; return whether the next one may follow."""
        text, progress = self._text[:MAX_TEXT_CHARS], self._progress
        self._text, self._progress = self._text[MAX_TEXT_CHARS:], None
        step, total = progress or (None, None)
        try:
            await self._tell(WorkerEvent(attempt=self._attempt, text=text, step=step, total=total))
        except TrackerBusy:  # it has not looked at the event
            self._text, self._progress = text + self._text, progress
            return False
        except TrackerUnreachable as error:  # it may have it: text that comes twice would be worse than a gap
            logger.debug("an event of a job was lost: %s", error, extra={"event": "job_event_lost"})
        except TrackerRefused as error:
            self.lost = error.status in LOST_STATUSES
            logger.info("an event of a job was refused: %s", error, extra={"event": "job_event_refused"})
        return not self.lost
