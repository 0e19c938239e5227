"""Probes: one small frame to a node and back gives its distance and its live load."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh.interface import Mesh, MeshStream
from gpunode_protocol.messages import PROBE_PROTOCOL, ProbeReplyFrame
from gpunode_protocol.probe import PROBE_TIMEOUT_S, ProbeClient

from gpunode._measurements import Measurements
from gpunode._probe_answer import Probe, after
from gpunode._selection import Candidate

_log = logging.getLogger(__name__)

FRESH_S: Final = 2.0
"""An answer of this age is used again: asking costs a round trip, and a queue of generations moves slowly."""
_LEAST_PATIENCE_S: Final = 0.01
"""After the first answer, however little others are worth: those within 10 ms are equally good."""
_NONCE_BYTES: Final = 16
_ON_ITS_WAY_S: Final = 0.25
"""A job sent less than this before a node's answer may not have reached it yet; some count twice, for 2 s."""
_MAX_SENT: Final = 64
"""Jobs that are remembered at one queue."""

Worth = Callable[[Mapping[PeerId, Probe], Collection[Candidate], float], float]
"""From the answers so far, those who have not answered, and when the first one did, in ms after they were asked: until
when it is worth waiting, in ms after they were asked."""


_Queue = tuple[PeerId, str]
"""A node and one of its models."""


@dataclass(eq=False)
class OwnJob:
    """A job of this client at a node. Instants: monotonic seconds; over_at None = it is there."""

    sent_at: float
    over_at: float | None = None


@dataclass(frozen=True)
class _Asked:
    """A probe under way. answer: what it brings, None = nothing; task: goes on a little beyond that."""

    answer: "asyncio.Future[Probe | None]"
    task: "asyncio.Task[None]"


class Prober:
    """Probes nodes over the mesh and measures their round trips. Who asks a node that is being asked shares the answer.

    Args:
        mesh: opens the streams.
        measurements: take the round trips.
        monotonic: seconds.
    """

    def __init__(self, mesh: Mesh, measurements: Measurements, *, monotonic: Callable[[], float]) -> None:
        self._mesh = mesh
        self._measurements = measurements
        self._monotonic = monotonic
        self._answers: dict[_Queue, tuple[float, Probe]] = {}
        self._own: dict[_Queue, deque[OwnJob]] = {}
        self._asking: dict[_Queue, _Asked] = {}

    def job_sent(self, candidate: Candidate) -> OwnJob:
        """Count a job that goes to a node now, so that the next one sees it before the node tells of it."""
        job = OwnJob(self._monotonic())
        self._own.setdefault(_queue_of(candidate), deque(maxlen=_MAX_SENT)).append(job)
        return job

    def job_over(self, job: OwnJob) -> None:
        """Note that it has left the node, which may have told of it meanwhile."""
        job.over_at = self._monotonic()

    def fresh(self, candidates: Iterable[Candidate]) -> dict[PeerId, Probe]:
        """Return the answers of the last 2 s."""
        return {candidate.node: probe for candidate in candidates if (probe := self._fresh(candidate)) is not None}

    def begin(self, candidates: Iterable[Candidate]) -> None:
        """Ask those whose answers are not fresh, behind the caller's back."""
        for candidate in candidates:
            if self._fresh(candidate) is None:
                self._ask(candidate)

    def is_asking(self, candidate: Candidate) -> bool:
        """Return whether a node's answer is still awaited."""
        asked = self._asking.get(_queue_of(candidate))
        return asked is not None and not asked.answer.done()

    async def refresh(self, candidates: Iterable[Candidate]) -> None:
        """Ask those whose answers are not fresh, 2 s at most."""
        await self.renew([item for item in candidates if self._fresh(item) is None])

    async def renew(self, candidates: Iterable[Candidate]) -> None:
        """Ask all, 2 s at most."""
        if answers := {self._ask(candidate) for candidate in candidates}:
            await asyncio.wait(answers)

    async def probe_all(self, candidates: Sequence[Candidate], worth: Worth | None = None) -> dict[PeerId, Probe]:
        """Probe all at once, at most 2 s; return those who answered, now or within the last 2 s.

        Once the first has answered, the others are waited for as long as that is worth it; None: as long as they take.
        Who is not waited for any longer is heard out all the same, for the next one who asks.
        """
        known = self.fresh(candidates)
        unknown = [candidate for candidate in candidates if candidate.node not in known]
        asked = await self._ask_all(unknown, known, worth)
        # read again: meanwhile other jobs may have been sent, by callers who were told the same
        return known | asked | self.fresh(item for item in candidates if item.node in known | asked)

    async def close(self) -> None:
        """Ask nobody any longer."""
        tasks = [asked.task for asked in self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fresh(self, candidate: Candidate) -> Probe | None:
        """Return a node's last answer as it would be now: less time to wait, own jobs come and gone."""
        queue = _queue_of(candidate)
        at, probe = self._answers.get(queue, (0.0, None))
        age_s = self._monotonic() - at
        if probe is None or age_s >= FRESH_S:
            return None
        own = self._own.get(queue, ())
        sent = sum(job.sent_at >= at - _ON_ITS_WAY_S and job.over_at is None for job in own)
        told_of = at - probe.rtt_ms / 1000  # what was sent before came to the node before the probe did
        left = sum(job.sent_at < told_of and job.over_at is not None and job.over_at >= at for job in own)
        return after(probe, age_ms=1000 * age_s, sent=sent, left=left)

    async def _ask_all(
        self, candidates: Sequence[Candidate], known: Mapping[PeerId, Probe], worth: Worth | None
    ) -> dict[PeerId, Probe]:
        started_at = self._monotonic()
        pending = {self._ask(candidate): candidate for candidate in candidates}
        probes: dict[PeerId, Probe] = {}
        first_s = 0.0 if known else None
        while pending:
            left_s: float | None = None
            if worth is not None and first_s is not None:
                worth_s = worth({**known, **probes}, pending.values(), 1000 * first_s) / 1000
                left_s = started_at + max(first_s + _LEAST_PATIENCE_S, worth_s) - self._monotonic()
                if left_s <= 0:
                    break
            done, _ = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            for answer in done:
                candidate, probe = pending.pop(answer), answer.result()
                if probe is not None:
                    probes[candidate.node] = probe
                    first_s = self._monotonic() - started_at if first_s is None else first_s
        return probes

    def _ask(self, candidate: Candidate) -> "asyncio.Future[Probe | None]":
        """Return a node's answer to come; whoever waits for it must not cancel it."""
        queue = _queue_of(candidate)
        asked = self._asking.get(queue)
        if asked is None or asked.answer.done():
            answer: asyncio.Future[Probe | None] = asyncio.get_running_loop().create_future()
            asked = self._asking[queue] = _Asked(answer, asyncio.create_task(self._probe(candidate, answer)))
            asked.task.add_done_callback(partial(self._forget, queue, asked))
        return asked.answer

    def _forget(self, queue: _Queue, ended: _Asked, _task: "asyncio.Task[None]") -> None:
        error = None if ended.task.cancelled() else ended.task.exception()
        if error is not None and not ended.answer.done():
            ended.answer.set_exception(error)  # whoever asks hears of a bug here
        elif not ended.answer.done():
            ended.answer.set_result(None)
        if self._asking.get(queue) is ended:
            del self._asking[queue]

    async def _probe(self, candidate: Candidate, answer: "asyncio.Future[Probe | None]") -> None:
        """Ask, 2 s at most. Of a node that was not measured lately the round trip is measured once more behind that."""
        is_new = self._measurements.rtt_ms(candidate.node) is None
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                stream = await self._mesh.open_stream(
                    candidate.node, PROBE_PROTOCOL, candidate.body.addresses, deadline_s=PROBE_TIMEOUT_S
                )
                try:
                    told = await self._exchange(stream, candidate)
                    answer.set_result(told)
                    if is_new and told is not None:  # a new connection's first exchange pays a little for its set-up
                        await self._exchange(stream, candidate)
                finally:
                    stream.abort()
        except (GpunodeError, TimeoutError) as error:
            _log.debug("probe of %s: %s", candidate.node, error, extra={"event": "probe_failed"})

    async def _exchange(self, stream: MeshStream, candidate: Candidate) -> Probe | None:
        probe = ProbeClient(nonce=secrets.token_bytes(_NONCE_BYTES), model=candidate.body.model.name)
        sent_at = self._monotonic()
        await stream.write(probe.data_to_send())
        reply: ProbeReplyFrame | None = None
        while reply is None:
            data = await stream.read()
            if not data:
                return None
            reply = probe.receive_data(data)
        now = self._monotonic()
        region = None if candidate.body.path == "relayed" else candidate.body.region
        self._measurements.rtt_measured(candidate.node, 1000 * (now - sent_at), region)
        rtt_ms = self._measurements.rtt_ms(candidate.node)
        answer = Probe(
            rtt_ms=0.0 if rtt_ms is None else rtt_ms,
            active=reply.active,
            queued=reply.queued,
            slots=reply.slots,
            wait_ms=reply.wait_ms,
            draining=reply.draining,
        )
        self._answers[_queue_of(candidate)] = now, answer
        return answer


def _queue_of(candidate: Candidate) -> _Queue:
    return candidate.node, candidate.body.model.name
