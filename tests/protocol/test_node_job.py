"""The node's side of a job."""

from typing import Any

import pytest
from gpunode_protocol.blobs import Blob
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.errors import ErrorCode, JobError, UnexpectedMessage
from gpunode_protocol.identity import Identity
from gpunode_protocol.messages import (
    NODE_FRAMES,
    DoneFrame,
    DrainingFrame,
    ErrorFrame,
    PingFrame,
    QueuedFrame,
    SegmentFrame,
    decode_frame,
)
from gpunode_protocol.node_job import NodeJob
from gpunode_protocol.payloads import Usage
from gpunode_protocol.signing import Envelope, Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import UNVOUCHED_LIMIT_TOKENS, Voucher

from tests.protocol.conversation import PROMPT_TOKENS, Conversation, accepted_frame, new_node
from tests.protocol.samples import (
    CLIENT,
    FINGERPRINT,
    JTI,
    NETWORK,
    NODE,
    NOW,
    OTHER_NETWORK,
    SALT,
    STRANGER,
    image_params,
    signed_request,
    speech_params,
)

USAGE = Usage(input_tokens=PROMPT_TOKENS, output_tokens=10)


def _job(tokens: int = 0) -> NodeJob:
    job = new_node(signed_request())
    job.accept(accepted_frame(), input_count=PROMPT_TOKENS)
    for number in range(tokens):
        job.tokens([number], "x", now=2.5)
    return job


def _voucher(job: NodeJob, /, *, by: Identity = CLIENT, **changes: Any) -> Signed[Voucher]:
    """Return the voucher for all that a job has sent, or a changed one."""
    body = job.request.body
    fields: dict[str, Any] = {
        "network": body.network,
        "job": body.job,
        "segment": body.segment,
        "node": body.node,
        "client": body.client,
        "jti": JTI,
        "task": job.task,
        "model": body.model,
        "start": body.start,
        "count": job.output.count,
        "input_count": 0,
        "digest": job.output.digest(),
        "final": False,
        "previous": body.previous_voucher,
    }
    return sign(by, Voucher(**{**fields, **changes}))


def _final(job: NodeJob, /, **changes: Any) -> Signed[Voucher]:
    assert job.receipt is not None
    return _voucher(job, **{"input_count": PROMPT_TOKENS, "final": True, "receipt": job.receipt.digest, **changes})


def _last_frame(job: NodeJob) -> Any:
    return decode_frame(job.frames[-1][4:], NODE_FRAMES)


def _refused(job: NodeJob, envelope: Envelope) -> str:
    """Return why a voucher is refused."""
    before = job.last_voucher
    with pytest.raises(JobError) as caught:
        job.receive_voucher(envelope)
    assert caught.value.code is ErrorCode.BAD_VOUCHER
    assert job.last_voucher is before
    return caught.value.message


def test_frames_are_kept_for_a_second_stream() -> None:
    """Everything that was said stays readable from the beginning."""
    job = _job(tokens=3)
    job.queued(0, 0.0)
    job.ping()
    job.draining(30.0)
    types = [decode_frame(frame[4:], NODE_FRAMES) for frame in job.frames]
    assert [type(message).frame_type for message in types] == [
        "accepted",
        "tokens",
        "tokens",
        "tokens",
        "queued",
        "ping",
        "draining",
    ]
    assert isinstance(types[4], QueuedFrame)
    assert isinstance(types[5], PingFrame)
    assert isinstance(types[6], DrainingFrame)


def test_receipt_binds_the_job() -> None:
    """The receipt states what was asked, what was done and in what time."""
    job = _job(tokens=10)
    voucher = _voucher(job)
    job.receive_voucher(voucher.envelope)
    receipt = job.finish(usage=USAGE, finish_reason="stop", now=4.0, finished_at=NOW + 4).body
    assert (receipt.ttft_ms, receipt.duration_ms, receipt.finished_at) == (2_500, 4_000, NOW + 4)
    assert receipt.request_digest == salted_digest(SALT, "request", job.request.envelope.body)
    assert receipt.output_digest == job.output.digest()
    assert (receipt.fingerprint, receipt.usage, receipt.jti) == (FINGERPRINT, USAGE, JTI)
    assert receipt.previous_voucher == voucher.digest
    assert receipt.parameters["max_tokens"] == 256
    assert not any("France" in str(value) for value in receipt.parameters.values())


def test_receipt_without_output() -> None:
    """A job that put out nothing has the time of its end as its first output's."""
    job = _job()
    receipt = job.finish(usage=Usage(input_tokens=17), finish_reason="cancelled", now=3.0, finished_at=NOW).body
    assert (receipt.ttft_ms, receipt.duration_ms, receipt.previous_voucher) == (3_000, 3_000, None)


def test_done_is_the_end() -> None:
    """After done nothing more can be said, and nothing more is counted."""
    job = _job(tokens=10)
    job.finish(usage=USAGE, finish_reason="stop", now=3.0, finished_at=NOW)
    assert isinstance(_last_frame(job), DoneFrame)
    assert job.is_over
    digest = job.output.digest()
    for act in (
        lambda: job.tokens([1], "x", now=3.0),
        lambda: job.finish(usage=USAGE, finish_reason="stop", now=3.0, finished_at=NOW),
        lambda: job.fail(JobError(ErrorCode.INTERNAL, "no")),
        job.ping,
    ):
        with pytest.raises(UnexpectedMessage):
            act()
    assert (job.output.digest(), job.error) == (digest, None)


def test_error_is_an_end_without_receipt() -> None:
    """A failed job says why and has no receipt."""
    job = _job(tokens=10)
    job.fail(JobError(ErrorCode.ENGINE_FAILED, "The engine crashed.", retryable=True, retry_after_s=3.0))
    message = _last_frame(job)
    assert isinstance(message, ErrorFrame)
    assert (message.code, message.retryable, message.retry_after_s) == ("engine_failed", True, 3.0)
    assert job.is_over
    assert job.receipt is None


def test_only_an_accepted_job_can_be_done() -> None:
    """A job that was not accepted has quoted nothing, so that it can fail but not be done."""
    job = new_node(signed_request())
    with pytest.raises(UnexpectedMessage):
        job.finish(usage=USAGE, finish_reason="cancelled", now=1.0, finished_at=NOW)
    job.fail(JobError(ErrorCode.CANCELLED, "cancelled"))


def test_pause_at_128_tokens() -> None:
    """The engine pauses when 128 tokens are not vouched for and goes on after a voucher."""
    job = _job(tokens=UNVOUCHED_LIMIT_TOKENS - 1)
    assert job.may_produce
    job.tokens([1], "x", now=0.0)
    assert not job.may_produce
    job.receive_voucher(_voucher(job).envelope)
    assert job.may_produce
    assert job.vouched_count == 128


def test_other_tasks_do_not_pause() -> None:
    """Pictures and speech come in pieces that cannot be halved."""
    job = new_node(signed_request(image_params(), Task.IMAGE_GEN))
    job.accept(accepted_frame(prompt_tokens=0), input_count=0)
    for number in range(2):
        job.blob(Blob(id=number, media_type="image/png", data=b"picture", units=64), now=1.0)
    assert job.output.count == 128
    assert job.may_produce


def test_speech() -> None:
    """A segment counts as audio up to its end."""
    job = new_node(signed_request(speech_params(), Task.WHISPER))
    job.accept(accepted_frame(prompt_tokens=0), input_count=0)
    job.segment(SegmentFrame(start_ms=0, end_ms=1_500, text="hello"), now=1.0)
    assert (job.output.count, job.first_output_at) == (1_500, 1.0)


def test_vouchers_grow() -> None:
    """Each voucher is returned once; the same again is no news."""
    job = _job(tokens=5)
    first = _voucher(job)
    assert job.receive_voucher(first.envelope) == first
    assert job.receive_voucher(first.envelope) is None
    job.tokens([1], "x", now=0.0)
    second = _voucher(job)
    assert job.receive_voucher(second.envelope) == second
    assert job.last_voucher == second


def test_voucher_for_an_earlier_moment() -> None:
    """A client may vouch for what it had received some frames ago."""
    job = _job(tokens=5)
    early = _voucher(job)
    for number in range(5):
        job.tokens([number], "x", now=0.0)
    assert job.receive_voucher(early.envelope) == early


def test_late_voucher_is_overlooked() -> None:
    """A smaller voucher that another stream delayed takes nothing back and ends no job."""
    job = _job(tokens=5)
    early = _voucher(job)
    job.tokens([1], "x", now=0.0)
    later = _voucher(job)
    job.receive_voucher(later.envelope)
    assert job.receive_voucher(early.envelope) is None
    assert job.last_voucher == later
    job.finish(usage=USAGE, finish_reason="stop", now=3.0, finished_at=NOW)
    final = _final(job)
    job.receive_voucher(final.envelope)
    assert job.receive_voucher(later.envelope) is None
    assert job.last_voucher == final


@pytest.mark.parametrize(
    "change",
    [
        {"network": OTHER_NETWORK},
        {"job": "01a17b3c-5d00-7abc-8def-0123456789ac"},
        {"segment": 1},
        {"node": STRANGER.peer_id},
        {"client": STRANGER.peer_id},
        {"jti": "grant-0002"},
        {"task": Task.EMBEDDING},
        {"model": "other"},
        {"start": 1},
        {"previous": b"\0" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_voucher_for_something_else(change: dict[str, Any]) -> None:
    """A voucher pays this job, segment, node and grant, or is refused."""
    job = _job(tokens=5)
    assert "another job" in _refused(job, _voucher(job, **change).envelope)


def test_voucher_of_another_signer() -> None:
    """A voucher that the client did not sign is refused."""
    job = _job(tokens=5)
    assert "does not verify" in _refused(job, _voucher(job, by=STRANGER).envelope)


@pytest.mark.parametrize("change", [{"count": 4}, {"count": 6}, {"count": 2**62}, {"digest": b"\0" * 32}])
def test_voucher_for_other_output(change: dict[str, Any]) -> None:
    """Count and digest have to be those of one moment of the job."""
    job = _job(tokens=5)
    assert "not sent like that" in _refused(job, _voucher(job, **change).envelope)


def test_final_voucher_settles() -> None:
    """The final voucher agrees with the receipt; after it nothing can be promised differently."""
    job = _job(tokens=10)
    job.finish(usage=USAGE, finish_reason="stop", now=3.0, finished_at=NOW)
    final = _final(job)
    assert job.receive_voucher(final.envelope) == final
    assert job.is_settled
    assert job.receive_voucher(final.envelope) is None


def test_final_voucher_before_the_receipt() -> None:
    """Nobody can agree with a receipt that does not exist."""
    job = _job(tokens=10)
    envelope = _voucher(job, final=True, receipt=b"\0" * 32, input_count=PROMPT_TOKENS).envelope
    assert "another receipt" in _refused(job, envelope)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"receipt": b"\0" * 32}, "another receipt"),
        ({"input_count": 0}, "usage"),
        ({"input_count": PROMPT_TOKENS - 1}, "usage"),
    ],
)
def test_final_voucher_that_disagrees(change: dict[str, Any], reason: str) -> None:
    """A final voucher for less than the receipt states is refused."""
    job = _job(tokens=10)
    job.finish(usage=USAGE, finish_reason="stop", now=3.0, finished_at=NOW)
    assert reason in _refused(job, _final(job, **change).envelope)
    assert not job.is_settled


def test_final_voucher_for_less_output() -> None:
    """A final voucher for an earlier moment of the job is refused."""
    job = _job(tokens=5)
    early = job.output.digest()
    for number in range(5):
        job.tokens([number], "x", now=0.0)
    job.finish(usage=USAGE, finish_reason="stop", now=3.0, finished_at=NOW)
    assert "usage" in _refused(job, _final(job, count=5, digest=early).envelope)


def test_second_final_voucher() -> None:
    """A final voucher that differs from the first one is refused."""
    job = _job(tokens=10)
    job.finish(usage=USAGE, finish_reason="stop", now=3.0, finished_at=NOW)
    job.receive_voucher(_final(job).envelope)
    assert "takes back" in _refused(job, _final(job, input_count=PROMPT_TOKENS + 1).envelope)


def test_memory_of_digests_is_bounded() -> None:
    """Digests of moments that are vouched for are forgotten."""
    talk = Conversation.about()
    for _ in range(250):
        talk.say(1)
    assert len(talk.node._digests) <= UNVOUCHED_LIMIT_TOKENS
    assert talk.node.request.body.network == NETWORK
    assert NODE.peer_id == talk.node.request.body.node
