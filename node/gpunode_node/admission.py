"""Whether a request may be worked on: its grant, what this node risks for it, and whether it came before. Pure.

An admitted request is remembered until its grant's expiry + 2 min, because until then its bytes could come again.
The same memory says what each grant has cost here, since every job under a grant dies with it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.grants import Grant, GrantChecks, check_grant
from gpunode_protocol.identity import PeerId
from gpunode_protocol.requests import JobRequest, task_of
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Signed
from gpunode_protocol.trust import Trust
from gpunode_protocol.validation import MAX_SEGMENT_NUMBER

MAX_REQUESTS_PER_GRANT = 64
"""Requests remembered for one client and grant; more are refused."""

MEMORY_AFTER_EXPIRY_S = 120
"""A request is remembered this long after its grant's end: longer than clocks may differ."""


@dataclass(frozen=True, slots=True)
class JobKey:
    """One segment of one client's job."""

    client: PeerId
    job: str
    segment: int


def key_of(request: JobRequest) -> JobKey:
    """Return the key of a request."""
    return JobKey(request.client, request.job, request.segment)


@dataclass(frozen=True, slots=True)
class RememberedJob:
    """One admitted request.

    jti: its grant. digest: SHA-256 of the signed body. cost_microcredits: the worst case while it runs, then what it
    came to. forget_at: Unix seconds. vouched_until: output units of the whole job that the client's vouchers for this
    segment reach to, 0 without one. running: in this process.
    """

    key: JobKey
    jti: str
    digest: bytes
    cost_microcredits: int
    forget_at: int
    vouched_until: int = 0
    running: bool = False


def check_grant_of(request: Signed[JobRequest], trust: Trust, revocations: Revocations | None, *, now: float) -> Grant:
    """Return the verified grant inside a verified request; ``now``: Unix seconds.

    Raises:
        JobError: ``grant_invalid``, ``grant_expired``, ``grant_revoked`` or ``task_not_allowed``.
    """
    body = request.body
    grant = trust.open_grant(body.grant, now=now)
    check_grant(grant, GrantChecks(trust.network, body.client, body.node, task_of(body.task), now))
    if revocations is not None and grant.jti in revocations.grants:
        raise job_error(ErrorCode.GRANT_REVOKED, "The grant was revoked; ask the tracker for a new one.")
    return grant


class Admission:
    """The memory of admitted requests.

    Args:
        node: this node.
        exposure_microcredits: what may be at risk for one open grant.
        remembered: of an earlier process; none of them runs.
    """

    def __init__(self, node: PeerId, exposure_microcredits: int, remembered: Iterable[RememberedJob] = ()) -> None:
        self._node = node
        self._exposure_microcredits = exposure_microcredits
        self._jobs: dict[JobKey, RememberedJob] = {}
        self._of_grant: dict[str, set[JobKey]] = {}
        for job in remembered:
            self._put(job)

    def begin(self, request: Signed[JobRequest], grant: Grant) -> RememberedJob:
        """Remember a request, which then counts as in flight, or refuse it.

        Raises:
            JobError: ``replayed`` (or below what another segment was vouched for), ``replay_memory_full`` or
                ``grant_exhausted`` (jobs in flight).
        """
        key = key_of(request.body)
        if key in self._jobs:
            raise job_error(ErrorCode.REPLAYED, _replay_text(self._jobs[key], request.digest))
        self._check_start(request.body)
        under_grant = [self._jobs[other] for other in self._of_grant.get(grant.jti, ())]
        if sum(other.key.client == key.client for other in under_grant) >= MAX_REQUESTS_PER_GRANT:
            raise job_error(
                ErrorCode.REPLAY_MEMORY_FULL,
                f"{MAX_REQUESTS_PER_GRANT} requests came under this grant already; ask the tracker for a new grant.",
            )
        if sum(other.running for other in under_grant) >= grant.jobs:
            raise job_error(
                ErrorCode.GRANT_EXHAUSTED,
                f"The grant allows {grant.jobs} jobs at once, and so many run here; wait until one has ended.",
            )
        job = RememberedJob(key, grant.jti, request.digest, 0, grant.exp + MEMORY_AFTER_EXPIRY_S, running=True)
        self._put(job)
        return job

    def reserve(self, key: JobKey, grant: Grant, worst_case_microcredits: int) -> RememberedJob:
        """Set aside what a job can cost at most.

        Raises:
            JobError: ``grant_exhausted``: more than the grant's cap here, or than this node risks for an open grant.
        """
        cap = grant.cap_at_microcredits(self._node)
        limit = cap if grant.cap.nodes is not None else min(cap, self._exposure_microcredits)
        spent = self.spent_microcredits(grant.jti)
        if spent + worst_case_microcredits > limit:
            raise job_error(
                ErrorCode.GRANT_EXHAUSTED,
                f"The job can cost {worst_case_microcredits} micro-credits; of the {limit} that this node takes for "
                f"this grant, {spent} are spent or in flight. Lower max_tokens, or use another grant or node.",
            )
        job = replace(self._jobs[key], cost_microcredits=worst_case_microcredits)
        self._put(job)
        return job

    def finish(self, key: JobKey, cost_microcredits: int) -> RememberedJob:
        """Note what a job came to; it is no longer in flight."""
        job = replace(self._jobs[key], cost_microcredits=cost_microcredits, running=False)
        self._put(job)
        return job

    def vouch(self, key: JobKey, vouched_until: int) -> None:
        """Note how far a voucher reaches, in output units of the whole job."""
        if key in self._jobs:  # its client may come back when it is not remembered any more
            self._put(replace(self._jobs[key], vouched_until=vouched_until))

    def find(self, key: JobKey) -> RememberedJob | None:
        """Return what is remembered of a segment."""
        return self._jobs.get(key)

    def forget(self, key: JobKey) -> None:
        """Drop a request that was refused before any work; it may come again."""
        job = self._jobs.pop(key, None)
        if job is not None:
            self._of_grant[job.jti].discard(key)
            if not self._of_grant[job.jti]:
                del self._of_grant[job.jti]

    def expire(self, now: float) -> list[JobKey]:
        """Drop and return what need not be remembered any more; ``now``: Unix seconds."""
        expired = [key for key, job in self._jobs.items() if job.forget_at < now and not job.running]
        for key in expired:
            self.forget(key)
        return expired

    def spent_microcredits(self, jti: str) -> int:
        """Return what a grant has cost here, the worst case of its running jobs included."""
        return sum(self._jobs[key].cost_microcredits for key in self._of_grant.get(jti, ()))

    def __iter__(self) -> Iterator[RememberedJob]:
        return iter(tuple(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def _check_start(self, request: JobRequest) -> None:
        keys = (JobKey(request.client, request.job, segment) for segment in range(MAX_SEGMENT_NUMBER + 1))
        held = max((self._jobs[key].vouched_until for key in keys if key in self._jobs), default=0)
        if request.start < held:
            raise job_error(
                ErrorCode.REPLAYED,
                f"The segment starts at {request.start}, but {held} output units of this job are vouched for here; "
                "start where your vouchers end.",
            )

    def _put(self, job: RememberedJob) -> None:
        self._jobs[job.key] = job
        self._of_grant.setdefault(job.jti, set()).add(job.key)


def _replay_text(known: RememberedJob, digest: bytes) -> str:
    if known.digest != digest:
        return "This job and segment came before with other content. Sign a new request with a new segment or job id."
    return (
        "This request was worked on before, and its result is no longer here; it is not computed twice. "
        "Sign a new request with a new segment or job id."
    )
