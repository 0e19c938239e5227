"""REST bodies of queued jobs and of their workers."""

import json
from typing import Any

import pytest
from gpunode_protocol import jobs_api as api
from gpunode_protocol.signing import Envelope, WireModel
from gpunode_protocol.tracker_api import Problem
from pydantic import ValidationError

from tests.protocol.samples import JOB, NOW

ENVELOPE = Envelope(body=bytes(range(256)), signature=b"\xfb\xff" * 32)
WORKER = "00000000-0000-4000-8000-000000000001"
PARAMS = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0.5, "stop": None}
VIEW = api.JobView(
    job_id=JOB,
    type="llm",
    status="completed",
    priority=3,
    region="asia",
    model="m",
    result={"response": "Hi", "usage": {"prompt_tokens": 3}},
    attempts=2,
    failures=("gone",),
    served_by=f"worker:{WORKER}",
    receipt="ab" * 32,
    created_at=NOW,
    started_at=NOW,
    completed_at=NOW,
)
EXAMPLES: list[WireModel] = [
    api.JobSubmission(type="llm", params=PARAMS, region="asia", priority=9, model="m", webhook="https://example.org"),
    api.JobTicket(job_id=JOB, status="queued", estimated_wait=5.0, note="n", webhook_secret="s"),
    api.JobProblem(title="Gateway Timeout", status=504, detail="d", code="not_ended", job_id=JOB),
    VIEW,
    api.JobsPage(jobs=(VIEW,), next_cursor=JOB),
    api.WorkerRegistration(supported_types=("llm", "whisper"), models=("m",), registration=ENVELOPE, gpu_memory_gb=24),
    api.WorkerCredentials(worker_id=WORKER, token="t", region="europe"),
    api.WorkerHeartbeat(status="online", gpu_info=api.GpuInfo(memory_used=4.5, memory_total=24), holding={JOB: 1}),
    api.WorkerHeartbeatReply(lost=(JOB,), time=NOW),
    api.NextJob(job_id=JOB, type="llm", params=PARAMS, model="m", attempt=1, lease_s=60, request=ENVELOPE),
    api.NextJob(reasons={"model": 3}),
    api.WorkerEvent(attempt=1, text="Hi", step=1, total=2),
    api.JobCompletion(success=True, result={"response": "Hi"}, processing_time=2.5, attempt=1, transcript=b"\x00\xff"),
    api.CompletionReply(job_id=JOB, status="completed", paid_microcredits=7),
    api.MaintenanceRequest(enabled=True),
]


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: type(body).__name__)
def test_bodies_read_back(body: WireModel) -> None:
    """Through JSON, with what is None left out."""
    assert type(body).model_validate_json(body.model_dump_json(exclude_none=True)) == body


@pytest.mark.parametrize("field", ["attempt", "step", "total"])
def test_progress_is_counted_in_64_bits(field: str) -> None:
    """More is no count: whoever follows the job may not be able to read it."""
    event = {"attempt": 1, "step": 1, "total": 2}
    api.WorkerEvent.model_validate(event | {field: 2**63 - 1})
    with pytest.raises(ValidationError, match=field):
        api.WorkerEvent.model_validate(event | {field: 2**63})


def test_the_plans_requests() -> None:
    """As its author wrote them."""
    submitted = {"type": "llm", "params": {"messages": [{"role": "user", "content": "Hello"}]}, "region": "asia"}
    heartbeat = {
        "status": "online",
        "gpu_info": {"memory_used": 4.5, "memory_total": 24},
        "supported_types": ["llm", "image_gen"],
    }
    completed = {"success": True, "result": {}, "processing_time": 2.5}
    assert api.JobSubmission.model_validate_json(json.dumps(submitted)).priority == 0
    assert api.WorkerHeartbeat.model_validate_json(json.dumps(heartbeat)).gpu_info.memory_total == 24
    assert api.JobCompletion.model_validate_json(json.dumps(completed)).processing_time == 2.5


@pytest.mark.parametrize(
    "change",
    [
        {"type": "poem"},
        {"params": "x"},
        {"priority": 10},
        {"priority": True},
        {"priority": "1"},
        {"region": "mars"},
        {"model": ""},
        {"model": "a b"},
        {"webhook": ""},
        {"regoin": "asia"},
    ],
)
def test_submissions_that_are_none(change: dict[str, Any]) -> None:
    """Also an unknown key: a wish that is not understood must not be overlooked."""
    with pytest.raises(ValidationError):
        api.JobSubmission.model_validate_json(json.dumps({"type": "llm", "params": {}} | change))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", "1e7"])
def test_numbers_of_workers_are_finite(number: str) -> None:
    """Memory and times."""
    with pytest.raises(ValidationError):
        api.GpuInfo.model_validate_json(f'{{"memory_used": {number}}}')
    with pytest.raises(ValidationError):
        api.JobCompletion.model_validate_json(f'{{"success": true, "processing_time": {number}}}')


def test_a_problem_of_a_job_is_a_problem() -> None:
    """Whoever knows only problems reads it too."""
    body = api.JobProblem(title="t", status=504, detail="d", code="c", job_id=JOB)
    assert Problem.model_validate_json(body.model_dump_json()).detail == "d"
