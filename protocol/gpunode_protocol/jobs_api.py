"""REST paths and bodies of queued jobs and of the workers that pull them.

Instants are Unix seconds. Parameters and results of a job are JSON objects whose shape ``type`` decides; see
``job_params`` and ``job_results``.
"""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import ConfigDict, Field

from gpunode_protocol.signing import Envelope, WireModel
from gpunode_protocol.tracker_api import API, Problem
from gpunode_protocol.validation import (
    Count,
    JobId,
    Latitude,
    Longitude,
    Name,
    PositiveCount,
    RegionField,
    TaskField,
    UnixSeconds,
)

JOBS_PATH = f"{API}/jobs"
SYNC_JOB_PATH = f"{API}/jobs/sync"
JOB_PATH = f"{API}/jobs/{{job}}"
JOB_EVENTS_PATH = f"{API}/jobs/{{job}}/events"
COMPLETE_PATH = f"{API}/jobs/{{job}}/complete"
WORKERS_PATH = f"{API}/workers"
WORKER_REGISTER_PATH = f"{API}/workers/register"
WORKER_PATH = f"{API}/workers/{{worker}}"
WORKER_HEARTBEAT_PATH = f"{API}/workers/{{worker}}/heartbeat"
NEXT_JOB_PATH = f"{API}/workers/{{worker}}/next-job"
WORKER_TOKEN_PATH = f"{API}/workers/{{worker}}/token"
WORKER_MAINTENANCE_PATH = f"{API}/workers/{{worker}}/maintenance"

MAX_PRIORITY = 9
SYNC_TIMEOUT_S = 60
LEASE_S = 60
"""A worker that is not heard for this long while it holds a job has lost it."""
LEASE_HEARTBEAT_INTERVAL_S = 20
"""A worker that holds a job is heard this often: by its heartbeat, or by events of the job."""
MAX_ATTEMPTS = 3
LONG_POLL_MAX_S = 30
SLOW_LINE_BYTES_PER_S = 64 * 1024
"""What files of jobs take over the slowest line that is waited for; half a megabit is what poor DSL sends."""
MAX_WORKER_MODELS = 8
MAX_PAGE = 100
MAX_WEBHOOK_URL_CHARS = 2_000
IDEMPOTENCY_KEY_HEADER = "Idempotency-Key"

JobStatusName = Literal["queued", "running", "completed", "failed", "cancelled"]
WorkerStatusName = Literal["online", "busy", "offline"]
Priority = Annotated[int, Ge(0), Le(MAX_PRIORITY)]
GigaBytes = Annotated[float, Ge(0), Le(1_000_000), Field(allow_inf_nan=False)]
SecondsTaken = Annotated[float, Ge(0), Le(1_000_000), Field(allow_inf_nan=False)]
PlaceName = Annotated[str, MaxLen(50), Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
Label = Annotated[str, MaxLen(100), Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
JsonObject = dict[str, Any]


class JobSubmission(WireModel):
    """Body of ``POST /api/v1/jobs`` and of ``…/sync``.

    region: only nodes and workers there; None = anywhere, the nearest first. priority: 9 goes first. model: None = the
    network's default of the type, or whatever model of the type comes first. webhook: an https address that is told of
    the job's end. An unknown key is refused: a wish that is not understood must not be overlooked.
    """

    model_config = ConfigDict(extra="forbid")

    type: TaskField
    params: JsonObject
    region: RegionField | None = None
    priority: Priority = 0
    model: Name | None = None
    webhook: Annotated[str, MinLen(1), MaxLen(MAX_WEBHOOK_URL_CHARS)] | None = None


class JobTicket(WireModel):
    """A submitted job.

    estimated_wait: seconds until it starts, from live workers and measured speeds only; None: it is not known, ``note``
    says why. webhook_secret: signs the webhook; shown once.
    """

    job_id: str
    status: JobStatusName
    estimated_wait: float | None = None
    note: str = ""
    webhook_secret: str | None = None


class JobProblem(Problem):
    """A problem that names a job: the one that goes on although the call that waited for it has ended."""

    job_id: str


class JobView(WireModel):
    """One job, as its owner sees it.

    result: of a completed job. error: why it failed; ``attempts`` of it were made, the reasons of each are in
    ``failures``. estimated_wait, position: of a queued job; from position 1,000 on, at least so many jobs go
    before it. served_by: ``worker:<id>`` or ``node:<peer>``, who
    holds it or ended it. receipt: digest of the co-signed receipt (64 hex digits), to be looked up in the ledger.
    """

    job_id: str
    type: TaskField
    status: JobStatusName
    priority: int
    region: RegionField | None = None
    model: str | None = None
    result: JsonObject | None = None
    error: str | None = None
    attempts: int = 0
    failures: tuple[str, ...] = ()
    position: Count | None = None
    estimated_wait: float | None = None
    note: str = ""
    served_by: str | None = None
    receipt: str | None = None
    created_at: UnixSeconds
    started_at: UnixSeconds | None = None
    completed_at: UnixSeconds | None = None


class JobsPage(WireModel):
    """Own jobs without their results, newest first; ``next_cursor``: pass as ``cursor`` for older ones."""

    jobs: tuple[JobView, ...]
    next_cursor: str | None = None


class WorkerRegistration(WireModel):
    """Body of ``POST /api/v1/workers/register``.

    registration: signed ``tracker_api.Registration``; with it the worker has a key, signs its completions and is paid.
    models: names that it serves, empty = whatever comes of its types.
    """

    name: Label = ""
    region: RegionField | None = None
    country: PlaceName = ""
    city: PlaceName = ""
    gpu_model: Label = ""
    gpu_memory_gb: GigaBytes = 0.0
    supported_types: Annotated[tuple[TaskField, ...], MinLen(1), MaxLen(8)]
    models: Annotated[tuple[Name, ...], MaxLen(MAX_WORKER_MODELS)] = ()
    registration: Envelope | None = None


class WorkerCredentials(WireModel):
    """token: for ``X-Worker-Token``, shown once. region: as given, or by GeoIP of the address."""

    worker_id: str
    token: str
    region: RegionField


class GpuInfo(WireModel):
    """Gigabytes."""

    memory_used: GigaBytes = 0.0
    memory_total: GigaBytes = 0.0


class WorkerHeartbeat(WireModel):
    """What a worker says of itself.

    supported_types, models: None = as before. holding: attempts of jobs that it holds, by job id, whose leases it
    renews. polling: false = no ``next-job`` call of this worker is under way, so what ``holding`` does not name it has
    not got, and others may have that at once; None = it does not say.
    """

    status: WorkerStatusName
    gpu_info: GpuInfo = GpuInfo()
    supported_types: Annotated[tuple[TaskField, ...], MinLen(1), MaxLen(8)] | None = None
    models: Annotated[tuple[Name, ...], MaxLen(MAX_WORKER_MODELS)] | None = None
    holding: Annotated[dict[str, int], MaxLen(64)] = Field(default_factory=dict)
    polling: bool | None = None


class WorkerHeartbeatReply(WireModel):
    """lost: jobs of ``holding`` that this worker does not hold (any more): it should stop them. time: Unix seconds."""

    lost: tuple[str, ...] = ()
    maintenance: bool = False
    time: UnixSeconds


class NextJob(WireModel):
    """A job that the worker holds from now on, or the counted reasons why there is none.

    attempt: to be sent with events and completion, it fences an older holder. lease_s: seconds until the job is lost
    unless the worker is heard. request: for workers with a key, the signed ``JobRequest`` to answer.
    reasons: for each reason how many queued jobs it kept from this worker.
    """

    job_id: JobId | None = None
    type: TaskField | None = None
    params: JsonObject | None = None
    model: str | None = None
    attempt: PositiveCount | None = None
    lease_s: PositiveCount | None = None
    request: Envelope | None = None
    reasons: dict[str, Count] = Field(default_factory=dict)


class WorkerEvent(WireModel):
    """Body of ``POST /api/v1/jobs/{job}/events``: what a worker tells while it works; renews its lease.

    text: the next piece of an answer. step, total: of progress.
    """

    attempt: PositiveCount
    text: Annotated[str, MaxLen(100_000)] = ""
    step: Count | None = None
    total: PositiveCount | None = None


class JobCompletion(WireModel):
    """Body of ``POST /api/v1/jobs/{job}/complete``.

    error: of a failure, shown to the job's owner. retryable: of a failure; false = no other worker could do the job
    either, such as a prompt that is longer than the model's context, so it has failed for good. processing_time:
    seconds. attempt: as in ``NextJob``; without it, the one that the worker holds. transcript: of a worker with a key,
    the frames of the job stream from ``accepted`` to ``done``: the result is read from them, and the receipt in
    ``done`` is its signature.
    """

    success: bool
    result: JsonObject | None = None
    error: Annotated[str, MaxLen(2_000)] = ""
    retryable: bool = True
    processing_time: SecondsTaken = 0.0
    attempt: PositiveCount | None = None
    transcript: bytes | None = None


class CompletionReply(WireModel):
    """status: of the job now. paid_microcredits: what the worker got."""

    job_id: str
    status: JobStatusName
    paid_microcredits: Count = 0


class WorkerView(WireModel):
    """One worker. avg_latency_ms, success_rate, total_jobs: computed by the tracker, never claimed."""

    worker_id: str
    name: str
    status: WorkerStatusName
    region: RegionField
    country: str
    city: str
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    gpu_model: str
    gpu_memory_gb: float
    supported_types: tuple[TaskField, ...]
    models: tuple[str, ...]
    avg_latency_ms: int | None = None
    success_rate: float
    total_jobs: Count
    maintenance: bool
    last_heartbeat: UnixSeconds | None = None
    registered_at: UnixSeconds


class WorkersPage(WireModel):
    """Live and past workers, by id."""

    workers: tuple[WorkerView, ...]
    next_cursor: str | None = None


class MaintenanceRequest(WireModel):
    """enabled: the worker gets no jobs while it is."""

    enabled: bool


class JobEventName:
    """Names of the server-sent events of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    TOKENS = "tokens"
    PROGRESS = "progress"
    DONE = "done"
    ERROR = "error"  #: a problem: whoever follows may do so no more. The job goes on
