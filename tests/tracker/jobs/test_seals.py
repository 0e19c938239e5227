"""What belongs to a job is sealed for its own place."""

from dataclasses import replace
from typing import Any

import pytest
from gpunode_protocol.signing import Envelope
from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.jobs.job import JobStatus, StoredJob
from gpunode_tracker.jobs.seals import JobSeals
from gpunode_tracker.sealing import Sealer, new_key

SEALS = JobSeals(Sealer((new_key(),)))


def job(**changes: Any) -> StoredJob:
    """Return a job with everything sealed."""
    fields: dict[str, Any] = {
        "id": "job-1",
        "type": "llm",
        "status": JobStatus.COMPLETED,
        "priority": 0,
        "region": None,
        "model": None,
        "lane": "llm/*/*",
        "rank": 0,
        "params": SEALS.seal_params("job-1", b'{"prompt":"hidden"}'),
        "result": SEALS.seal_result("job-1", {"response": "hidden"}),
        "request": SEALS.seal_request("job-1", Envelope(body=b"hidden", signature=bytes(64))),
        "created_at": 0,
        "account_id": "a",
        "client_id": "k",
        "client_address": "",
    }
    return StoredJob(**{**fields, **changes})


def test_what_is_sealed_is_hidden_and_comes_back() -> None:
    """Parameters, result and request."""
    sealed = job()
    assert all(b"hidden" not in (value or b"") for value in (sealed.params, sealed.result, sealed.request))
    assert SEALS.params_of(sealed) == {"prompt": "hidden"}
    assert SEALS.result_of(sealed) == {"response": "hidden"}
    assert SEALS.request_of(sealed) == Envelope(body=b"hidden", signature=bytes(64))


@pytest.mark.parametrize("read", [SEALS.params_of, SEALS.result_of, SEALS.request_of])
def test_nothing_can_be_moved_to_another_job(read: Any) -> None:
    """Its place is authenticated."""
    with pytest.raises(KeysUnusable):
        read(replace(job(), id="job-2"))


def test_what_is_not_there() -> None:
    """No request before the first lease of a worker with a key; a result of a completed job only."""
    assert SEALS.request_of(job(request=None)) is None
    with pytest.raises(LookupError):
        SEALS.result_of(job(result=None))
