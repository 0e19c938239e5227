"""What is the same for all tasks before the engine is asked, and after it failed."""

import pytest
from gpunode_engines.base import EngineInfo
from gpunode_engines.errors import EngineCrashed, EngineNotReady, InvalidParameters, SchemaNotHeld, TimeLimit
from gpunode_node.work import RETRY_AFTER_S, check_weights, job_error_of_engine
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.requests import Resume

from tests.node.test_llm_work import INFO
from tests.node.world import request

RESUME = Resume(ids=(7, 8), text_offset=2, prompt_digest=bytes(32))


def test_weights() -> None:
    """A named fingerprint must be the loaded one, and a resumed job must name it."""
    info: EngineInfo = INFO
    check_weights(request(fingerprint=b"f" * 32, resume=RESUME).body, info)
    with pytest.raises(JobError) as caught:
        check_weights(request(fingerprint=b"g" * 32).body, info)
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.FINGERPRINT_MISMATCH, True)
    with pytest.raises(JobError) as caught:
        check_weights(request(resume=RESUME).body, info)
    assert caught.value.code is ErrorCode.RESUME_REFUSED


def test_engine_errors() -> None:
    """Each has its wire code; what may be retried says so."""
    for error, code, retryable in (
        (EngineCrashed("gone"), ErrorCode.ENGINE_FAILED, True),
        (EngineNotReady(), ErrorCode.BUSY, True),
        (TimeLimit(), ErrorCode.TIME_LIMIT, True),
        (SchemaNotHeld(), ErrorCode.INVALID_PARAMETERS, True),
        (InvalidParameters("no"), ErrorCode.INVALID_PARAMETERS, False),
    ):
        wired = job_error_of_engine(error)
        assert (wired.code, wired.retryable) == (code, retryable)
    assert job_error_of_engine(EngineNotReady()).retry_after_s == RETRY_AFTER_S
