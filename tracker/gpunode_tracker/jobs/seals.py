"""What clients entrust to the queue, sealed for its place in the database. JSON inside."""

import json
from dataclasses import dataclass
from typing import Any

from gpunode_protocol.signing import Envelope

from gpunode_tracker.jobs.job import StoredJob
from gpunode_tracker.sealing import Sealer


@dataclass(frozen=True)
class JobSeals:
    """Seals and opens what belongs to a job. Opening raises KeysUnusable where the key is lost."""

    sealer: Sealer

    def seal_params(self, job_id: str, params: bytes) -> bytes:
        """Return parameters (JSON text) sealed."""
        return self.sealer.seal(params, f"jobs.params/{job_id}")

    def params_of(self, job: StoredJob) -> dict[str, Any]:
        """Return a job's parameters."""
        value: dict[str, Any] = json.loads(self.sealer.open(job.params, f"jobs.params/{job.id}"))
        return value

    def seal_result(self, job_id: str, result: dict[str, Any]) -> bytes:
        """Return a result sealed."""
        return self.sealer.seal(json.dumps(result, separators=(",", ":")).encode(), f"jobs.result/{job_id}")

    def result_of(self, job: StoredJob) -> dict[str, Any]:
        """Return a completed job's result."""
        if job.result is None:
            raise LookupError("a job without a result")
        value: dict[str, Any] = json.loads(self.sealer.open(job.result, f"jobs.result/{job.id}"))
        return value

    def seal_request(self, job_id: str, request: Envelope) -> bytes:
        """Return a signed request sealed."""
        return self.sealer.seal(request.model_dump_json().encode(), f"jobs.request/{job_id}")

    def request_of(self, job: StoredJob) -> Envelope | None:
        """Return the signed request of a job's newest lease, None if there was none."""
        if job.request is None:
            return None
        return Envelope.model_validate_json(self.sealer.open(job.request, f"jobs.request/{job.id}"))
