"""One job of the tracker's queue, from its lease to its end."""

import asyncio
import logging

from gpunode_protocol.blobs import Blob, blob_frames
from gpunode_protocol.errors import ErrorCode, GpunodeError, JobError, ProtocolError, job_error
from gpunode_protocol.job_params import read_job_params
from gpunode_protocol.jobs_api import LEASE_S, JobCompletion, NextJob
from gpunode_protocol.node_stream import job_error_of
from gpunode_protocol.payloads import input_refs
from gpunode_protocol.requests import JobRequest, task_of
from gpunode_protocol.signing import read_body

from gpunode_node.job_intake import JobIntake
from gpunode_node.job_run import JobRun
from gpunode_node.pull.job_faults import is_fault_of_the_job
from gpunode_node.pull.job_teller import JobTeller, Tell

logger = logging.getLogger(__name__)

MAX_REASON_CHARS = 2_000


class PulledJob:
    """Works on one job. ``run`` is one task; ``lose`` may be called meanwhile.

    Args:
        job: as the tracker gave it, with an id.
        intake: checks the signed request as it does in the mesh, and runs it.
        tell: posts an event of this job.
    """

    def __init__(self, job: NextJob, intake: JobIntake, tell: Tell) -> None:
        self._job = job
        self._intake = intake
        self._teller = JobTeller(job.attempt or 1, tell)
        self._run: JobRun | None = None
        self.job_id = job.job_id or ""
        self.attempt = job.attempt
        self.lease_s = job.lease_s or LEASE_S
        self.model = _model_of(job)  #: what the request names, empty where there is none

    @property
    def lost(self) -> bool:
        """Whether the job is another's by now, or has ended: its result is of no use."""
        return self._teller.lost

    def lose(self) -> None:
        """Stop: the tracker does not want it any more."""
        self._teller.lost = True
        if self._run is not None:
            self._run.cancel()
            self._run.bell.ring()

    async def run(self) -> JobCompletion | None:
        """Do the job; return its end, None when it was lost."""
        started_at = asyncio.get_running_loop().time()
        try:
            run = self._open()
        except JobError as error:
            logger.warning("a job was refused: %s", error, extra={"event": "job_refused", "job_id": self.job_id})
            return self._failure(error, started_at)
        feeding = asyncio.create_task(self._feed(run))
        try:
            await self._teller.follow(run)
            if self.lost:
                run.cancel()
                return None
            return self._end_of(run, started_at)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            self._intake.forget(run)

    def _open(self) -> JobRun:
        """Check everything that the mesh's jobs are checked for, and start the job. Raises JobError."""
        envelope = self._job.request
        if envelope is None:
            raise job_error(
                ErrorCode.INTERNAL, "The tracker gave a job without a signed request, which this worker's key needs."
            )
        try:
            client = read_body(JobRequest, envelope).client
        except ProtocolError as error:
            raise job_error_of(error) from error
        self._run = self._intake.open(envelope, client)
        return self._run

    async def _feed(self, run: JobRun) -> None:
        """Give the job its files once it is accepted; the signed request holds their digests."""
        try:
            refs = input_refs(run.request.body.read_params())
            if not refs:
                return
            blobs = self._files(run)
            while not (run.accepted or run.job.is_over):
                await run.bell.wait()
            for blob in blobs:
                for piece in blob_frames(blob, run.request.body.salt):
                    if run.job.is_over:
                        return
                    run.receive_input(piece)
                    await asyncio.sleep(0)  # hashing a piece takes a while, and other jobs have something to say
        except JobError as error:
            run.stop(error)
        except GpunodeError as error:
            run.stop(job_error(ErrorCode.BLOB_INVALID, str(error)))
        except Exception:
            logger.exception("a job's files failed", extra={"event": "job_files_failed", "job_id": self.job_id})
            run.stop(job_error(ErrorCode.INTERNAL, "The worker failed to read the job's files."))

    def _files(self, run: JobRun) -> tuple[Blob, ...]:
        body = run.request.body
        return read_job_params(task_of(body.task), self._job.params).to_order(body.salt, body.issued_at).inputs

    def _end_of(self, run: JobRun, started_at: float) -> JobCompletion:
        if run.job.error is not None:
            return self._failure(run.job.error, started_at)
        return JobCompletion(
            success=True,
            processing_time=_since(started_at),
            attempt=self.attempt,
            transcript=b"".join(run.job.frames),
        )

    def _failure(self, error: JobError, started_at: float) -> JobCompletion:
        has_whole_context = self._run is not None and self._run.has_whole_context
        return JobCompletion(
            success=False,
            error=str(error)[:MAX_REASON_CHARS],
            retryable=not is_fault_of_the_job(error, has_whole_context=has_whole_context),
            processing_time=_since(started_at),
            attempt=self.attempt,
        )


def _since(started_at: float) -> float:
    return round(asyncio.get_running_loop().time() - started_at, 3)


def _model_of(job: NextJob) -> str:
    if job.request is None:
        return job.model or ""
    try:
        return read_body(JobRequest, job.request).model
    except ProtocolError:
        return job.model or ""
