"""What the best choice would have been, from what the router cannot know: the world, the engines' speeds, every job.

Each node does one job at a time, in the order in which they come. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gpunode_benchmarks.overhead_engines import Pace
from gpunode_benchmarks.routing.detour import Detour


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneJob:
    """A job as its client and its engine saw it; instants are seconds of one monotonic clock.

    host: of the client. node: host of the node that did it. phase: negative = not to be judged. chosen_at: when the
    client chose. found_ms: what choosing took. ttft_ms: from the call. start: its first parts, ms by the names of
    ``gpunode.types.StartTimes``. ended_at: when the engine put out the last token. disturbed: more than one node was
    asked for it, so that chosen_at, found_ms and ttft_ms may not be of the choice of ``node``, and the job is not to be
    judged. Others waited for it all the same.
    """

    host: str
    node: str
    phase: int
    chosen_at: float
    found_ms: float
    ttft_ms: float
    prompt_tokens: int
    output_tokens: int
    ended_at: float
    disturbed: bool
    start: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """A world with paced nodes, and all jobs that were done in it.

    rtt_ms: from each client's host to each node's. paces: of the nodes, by host. detours: pairs of jobs straight to a
    node and through the tracker, of all clients, done before the jobs that are judged.
    """

    rtt_ms: Mapping[tuple[str, str], float]
    paces: Mapping[str, Pace]
    jobs: Sequence[DoneJob]
    detours: Sequence[Detour] = ()

    def regret_ms(self, job: DoneJob) -> float:
        """Return how much later the answer was due from the node that was chosen than from the best one, >= 0.

        Due by the queues as they were at the nodes when the client chose.
        """
        return self.cost_ms(job, job.node) - min(self.cost_ms(job, node) for node in self.paces)

    def hindsight_regret_ms(self, job: DoneJob) -> float:
        """Return the same by the queues as the job found them, or would have: others' jobs were on their way to them.

        Nobody could know of those: where two clients far apart choose one node at the same instant, one regrets it.
        """
        found = {node: self._rest_ms(job, node) + self._wait_ms(job, node) for node in self.paces}
        return found[job.node] - min(found.values())

    def over_floor_ms(self, job: DoneJob) -> float:
        """Return what the first token took beyond one round trip, the queue, and reading the prompt."""
        return self.travel_ms(job) - self._rtt_ms(job, job.node)

    def round_trips(self, job: DoneJob) -> float:
        """Return what the first token took beyond the queue and reading the prompt, in round trips to its node."""
        return self.travel_ms(job) / self._rtt_ms(job, job.node)

    def travel_ms(self, job: DoneJob) -> float:
        """Return what the first token took beyond the queue and reading the prompt."""
        return job.ttft_ms - self._wait_ms(job, job.node) - self._prefill_ms(job, job.node)

    def cost_ms(self, job: DoneJob, node: str) -> float:
        """Return when the whole answer was due from a node, in ms after the choice, as the queues were then."""
        return self._rest_ms(job, node) + self._queue_ms(job, node, job.chosen_at)

    def _rest_ms(self, job: DoneJob, node: str) -> float:
        return self._rtt_ms(job, node) + self._work_ms(job, node)

    def _prefill_ms(self, job: DoneJob, node: str) -> float:
        return job.prompt_tokens * self.paces[node].prefill_ms

    def _work_ms(self, job: DoneJob, node: str) -> float:
        return self._prefill_ms(job, node) + (job.output_tokens - 1) * self.paces[node].interval_ms

    def _rtt_ms(self, job: DoneJob, node: str) -> float:
        return self.rtt_ms[job.host, node]

    def _arrival(self, job: DoneJob, node: str) -> float:
        if job.disturbed:  # it came some time after it chose; when its work began, it was there
            return job.ended_at - self._work_ms(job, node) / 1000
        return job.chosen_at + self._rtt_ms(job, node) / 2000

    def _wait_ms(self, job: DoneJob, node: str) -> float:
        """Return how long the jobs that were there before it would have kept it waiting."""
        return self._queue_ms(job, node, self._arrival(job, node))

    def _queue_ms(self, job: DoneJob, node: str, until: float) -> float:
        """Return how long the jobs that had come to the node until an instant would have kept it waiting."""
        arrival = self._arrival(job, node)
        before = (
            other.ended_at
            for other in self.jobs
            if other.node == node and other is not job and self._arrival(other, node) < until
        )
        return 1000 * max(0.0, max(before, default=arrival) - arrival)
