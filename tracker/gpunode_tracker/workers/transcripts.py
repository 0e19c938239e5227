"""Reading what a pull worker with a key proves: the frames that a node would have sent, up to its signed receipt."""

from dataclasses import dataclass

from gpunode_protocol.client_job import ClientJob, Completed, Failed
from gpunode_protocol.errors import VerificationFailed
from gpunode_protocol.identity import Identity
from gpunode_protocol.job_results import ResultReader
from gpunode_protocol.jobs_api import JsonObject
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed


@dataclass(frozen=True)
class ProvenResult:
    """A result, and the receipt and final voucher for it."""

    result: JsonObject
    proof: Completed


def read_transcript(dispatch: Identity, request: Signed[JobRequest], jti: str, transcript: bytes) -> ProvenResult:
    """Check a transcript as a client checks a node's stream, and vouch for what it proves.

    Args:
        dispatch: the key that signed the request; it signs the voucher.
        request: that the worker answers.
        jti: of the reservation that the request's grant is for.
        transcript: frames from ``accepted`` to ``done``.

    Raises:
        GpunodeError: why nothing is proved by it.
    """
    job = ClientJob(dispatch, request, jti, opened_at=0.0)
    reader = ResultReader(job.params)
    for event in [*job.receive_data(transcript, 0.0), *job.receive_eof()]:
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Completed):
            if event.finish_reason == "cancelled":
                raise VerificationFailed("The worker cancelled the job itself.")
            return ProvenResult(reader.result(event), event)
        reader.take(event)
    raise VerificationFailed("The transcript ends without a receipt.")
