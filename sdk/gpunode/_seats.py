"""Where one job goes next: a node of its queue, with a place for a stream there."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gpunode_protocol.errors import ErrorCode, GpunodeError, JobError
from gpunode_protocol.identity import PeerId

from gpunode._job_services import JobServices
from gpunode._node_places import Place
from gpunode._node_queue import NodeQueue, is_free
from gpunode._probing import OwnJob
from gpunode._selection import Choice, Standing

LONGEST_WAIT_S: Final = 60.0
"""For a node that takes no stream although it does no job of this client. Whose streams it has, and whether they ever
end, the client cannot know."""


@dataclass(frozen=True)
class Seat:
    """A node with a place there. counted: see ``Prober``; who has the seat ends both."""

    choice: Choice
    place: Place
    counted: OwnJob


class Seats:
    """The seats of one job.

    Args:
        services: of the client.
        nodes: whom the job may ask.

    ``waited_s``: for places, in all. ``problem``: why it has none, a sentence and a space; empty if it has one.
    ``in_vain``: why a node was given up that does no job of this client, a sentence; empty if none was.
    """

    def __init__(self, services: JobServices, nodes: NodeQueue) -> None:
        self.waited_s = 0.0
        self.problem = ""
        self.in_vain = ""
        self._services = services
        self._nodes = nodes
        self._places = services.places
        self._number: int | None = None
        self._refused_since: dict[PeerId, float] = {}

    def take(self, fits: Callable[[Choice], bool]) -> Seat | None:
        """Return a seat at the best node that fits and has room now, None if there is none."""
        choice = self._nodes.next(lambda choice: fits(choice) and self._has_room(choice))
        return None if choice is None else self._seat(choice, self._places.take(choice.node))

    async def next(self, until: float, *, is_urgent: bool) -> Seat | None:
        """Return a seat at the best node; None: there is nobody, or no place by then.

        Where this client has as many jobs as a node takes of it, a node that is free does the job; without one it waits
        until one of them ends: the ranking knew of them, and still found that node better. For a node that refuses
        although this client has no jobs there, it does not wait while another one has room.

        Args:
            until: monotonic seconds.
            is_urgent: before other jobs that wait.
        """
        if self._nodes.is_next(self._has_room):
            return self.take(_any)
        seat = self.take(lambda choice: choice.standing is Standing.ANSWERED and is_free(choice))
        if seat is None and not self._nodes.has(self._will_have_room):
            seat = self.take(_any)
        if seat is not None or not (is_urgent or self._services.may_wait):
            return seat
        return await self._wait(until, is_urgent=is_urgent)

    def refused(self, choice: Choice, place: Place, error: GpunodeError) -> bool:
        """Note that a node answered a request with an error; return whether that was only one stream too many.

        Then nobody has failed, and the job stays in the node's line; but for a minute at most, if the node does no job
        of this client, whose end would make room.
        """
        if not (isinstance(error, JobError) and error.code is ErrorCode.TOO_MANY_STREAMS and self._services.may_wait):
            return False
        place.refused(error.retry_after_s)
        if self._is_in_vain(choice.node):
            self.in_vain = (
                f"For {LONGEST_WAIT_S:g} s a node took no further stream of this client, of which it does no job: "
                "another program may use this client's key."
            )
            return False
        self.problem = f"{error} "
        self._nodes.put_first(choice)
        return True

    def _is_in_vain(self, node: PeerId) -> bool:
        """Note a refusal; return whether a node has refused for a minute without doing a job of this client."""
        if self._places.has_accepted(node):
            self._refused_since.pop(node, None)
            return False
        now = self._services.monotonic()
        return now - self._refused_since.setdefault(node, now) >= LONGEST_WAIT_S

    def get_up(self, seat: Seat) -> None:
        """Leave a seat from which no request went out."""
        self._services.prober.job_over(seat.counted)
        seat.place.release()

    def leave(self) -> None:
        """The job asks nobody any more."""
        counted = self._nodes.take_counted()
        if counted is not None:
            self._services.prober.job_over(counted)

    async def _wait(self, until: float, *, is_urgent: bool) -> Seat | None:
        began_at = self._services.monotonic()
        full = [choice.node for choice in self._nodes if not self._has_room(choice)]
        if not full:
            return None
        self.problem = self.problem or "All nodes have as many jobs of this client as they take. "
        self._number = self._places.number() if self._number is None else self._number
        try:
            async with asyncio.timeout(max(0.0, until - began_at)):
                place = await self._places.wait(
                    full, number=self._number, is_urgent=is_urgent, avoided=self._failed_lately
                )
        except TimeoutError:
            return None
        finally:
            self.waited_s += self._services.monotonic() - began_at
        choice = self._nodes.next(lambda choice: choice.node == place.node)
        assert choice is not None  # noqa: S101 -- nobody else takes from a job's queue
        return self._seat(choice, place)

    def _failed_lately(self) -> frozenset[str]:
        return self._services.breakers.blocked(self._services.monotonic())

    def _will_have_room(self, choice: Choice) -> bool:
        return not self._has_room(choice) and self._places.has_jobs(choice.node)

    def _has_room(self, choice: Choice) -> bool:
        return self._places.has_room(choice.node)

    def _seat(self, choice: Choice, place: Place) -> Seat:
        """Count the job where it goes, also if it was counted at another node before."""
        self.problem = ""
        prober, counted = self._services.prober, self._nodes.take_counted()
        if counted is not None and not self._nodes.was_first(choice):
            prober.job_over(counted)
            counted = None
        return Seat(choice, place, counted or prober.job_sent(choice.candidate))


def _any(_choice: Choice) -> bool:
    return True
