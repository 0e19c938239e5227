"""Probes: one small frame to a node and back gives its distance and its live load."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
_STRAGGLER_FACTOR: Final = 2.0
_MIN_STRAGGLER_WAIT_S: Final = 0.05
_NONCE_BYTES: Final = 16
_ON_ITS_WAY_S: Final = 0.25
"""A job sent less than this before a node's answer may not have reached it yet; some count twice, for 2 s."""
_MAX_SENT: Final = 64
"""Jobs that are remembered at one queue."""

Worth = Callable[[Mapping[PeerId, Probe], Collection[Candidate]], float]
"""From the answers so far and those who have not answered: how many ms are worth waiting for them, from the start."""


def _worth_nothing(_probes: Mapping[PeerId, Probe], _pending: Collection[Candidate]) -> float:
    return 0.0


_Queue = tuple[PeerId, str]
"""A node and one of its models."""


@dataclass(eq=False)
class OwnJob:
    """A job of this client at a node. Instants: monotonic seconds; over_at None = it is there."""

    sent_at: float
    over_at: float | None = None


class Prober:
    """Probes nodes over the mesh and measures their round trips.

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
        self._refreshing: set[_Queue] = set()

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

    async def refresh(self, candidates: Iterable[Candidate]) -> None:
        """Ask those whose answers are not fresh and whom nobody asks at the moment, 2 s at most."""
        await self.renew([item for item in candidates if self._fresh(item) is None])

    async def renew(self, candidates: Iterable[Candidate]) -> None:
        """Ask those whom nobody asks at the moment, 2 s at most."""
        wanted = {_queue_of(item): item for item in candidates}
        await asyncio.gather(*(self._renew(queue, item) for queue, item in wanted.items()))

    async def _renew(self, queue: _Queue, candidate: Candidate) -> None:
        if queue in self._refreshing:
            return
        self._refreshing.add(queue)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._probe(candidate)
        except TimeoutError:
            pass
        finally:
            self._refreshing.discard(queue)

    async def probe_all(self, candidates: Sequence[Candidate], worth: Worth = _worth_nothing) -> dict[PeerId, Probe]:
        """Probe all at once, at most 2 s; return those who answered, now or within the last 2 s.

        Once the first has answered, the others get as long again, because whoever takes longer is not the nearest; or
        longer where that is worth it, because the nearest may have a queue.
        """
        known = self.fresh(candidates)
        unknown = [candidate for candidate in candidates if candidate.node not in known]
        asked = await self._ask_all(unknown, known, worth)
        # read again: meanwhile other jobs may have been sent, by callers who were told the same
        return known | asked | self.fresh(item for item in candidates if item.node in known | asked)

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
        self, candidates: Sequence[Candidate], known: Mapping[PeerId, Probe], worth: Worth
    ) -> dict[PeerId, Probe]:
        started_at = self._monotonic()
        pending = {asyncio.create_task(self._probe(candidate)): candidate for candidate in candidates}
        probes: dict[PeerId, Probe] = {}
        ends_at = started_at + PROBE_TIMEOUT_S
        first_s: float | None = None
        try:
            while pending and (left_s := ends_at - self._monotonic()) > 0:
                done, _ = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    candidate, probe = pending.pop(task), task.result()
                    if probe is not None:
                        probes[candidate.node] = probe
                        first_s = first_s or self._monotonic() - started_at
                if first_s is not None:
                    patience_s = first_s + max(_MIN_STRAGGLER_WAIT_S, first_s * (_STRAGGLER_FACTOR - 1))
                    worth_s = worth({**known, **probes}, pending.values()) / 1000
                    ends_at = started_at + min(PROBE_TIMEOUT_S, max(patience_s, worth_s))
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        return probes

    async def _probe(self, candidate: Candidate) -> Probe | None:
        try:
            stream = await self._mesh.open_stream(
                candidate.node, PROBE_PROTOCOL, candidate.body.addresses, deadline_s=PROBE_TIMEOUT_S
            )
        except GpunodeError as error:
            _log.debug("probe of %s: %s", candidate.node, error, extra={"event": "probe_failed"})
            return None
        try:
            if (
                self._measurements.rtt_ms(candidate.node) is None
            ):  # a new connection's first exchange pays for its set-up
                await self._exchange(stream, candidate)
            return await self._exchange(stream, candidate)
        except GpunodeError as error:
            _log.debug("probe of %s: %s", candidate.node, error, extra={"event": "probe_failed"})
            return None
        finally:
            stream.abort()

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
