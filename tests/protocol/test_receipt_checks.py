"""What a client checks before the final voucher, and what anyone can check of a pair."""

from typing import Any

import pytest
from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import Completed, Failed
from gpunode_protocol.errors import BadSignature, MalformedMessage, VerificationFailed
from gpunode_protocol.identity import Identity
from gpunode_protocol.messages import DoneFrame, encode_frame
from gpunode_protocol.payloads import Usage
from gpunode_protocol.receipt_checks import check_pair, open_receipt, open_voucher
from gpunode_protocol.receipts import Receipt, recorded_parameters
from gpunode_protocol.requests import Resume
from gpunode_protocol.signing import Envelope, Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import Voucher
from pydantic import ValidationError

from tests.protocol.conversation import PROMPT_DIGEST, PROMPT_TOKENS, Conversation
from tests.protocol.samples import CLIENT, NODE, OTHER_NETWORK, STRANGER, image_params, request_body, speech_params

ZERO = b"\0" * 32


def _done(talk: Conversation, *, by: Identity = NODE, frame: dict[str, Any] | None = None, **changes: Any) -> DoneFrame:
    """Return the ``done`` of a conversation, with changes in the frame or in the receipt's body."""
    talk.node.finish(usage=talk.usage(), finish_reason="stop", now=1.0, finished_at=1_800_000_005)
    assert talk.node.receipt is not None
    receipt = sign(by, Receipt.from_map({**talk.node.receipt.body.to_map(), **changes}))
    fields = {
        "finish_reason": "stop",
        "usage": receipt.body.usage,
        "digest": receipt.body.output_digest,
        "receipt": receipt.envelope,
        **(frame or {}),
    }
    return DoneFrame(**fields)


def _refusal(talk: Conversation, done: DoneFrame) -> VerificationFailed:
    """Return why a client refuses ``done``; it signs no final voucher then."""
    (event,) = talk.client.receive_data(encode_frame(done), 1.0)
    assert isinstance(event, Failed)
    assert isinstance(event.error, VerificationFailed)
    voucher = talk.client.closing_voucher()
    assert voucher is None or not voucher.body.final
    return event.error


def _outcome(talk: Conversation, done: DoneFrame) -> str:
    """Return the same in words."""
    return str(_refusal(talk, done))


def _talk(tokens: int = 10) -> Conversation:
    talk = Conversation.about()
    talk.say(tokens)
    return talk


def test_true_receipt_passes() -> None:
    """A receipt that states what was received is agreed with."""
    talk = _talk()
    (event,) = talk.client.receive_data(encode_frame(_done(talk)), 1.0)
    assert isinstance(event, Completed)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"network": OTHER_NETWORK}, "network"),
        ({"job": "01a17b3c-5d00-7abc-8def-0123456789ac"}, "job"),
        ({"segment": 1}, "segment"),
        ({"node": STRANGER.peer_id}, "node"),
        ({"client": STRANGER.peer_id}, "client"),
        ({"jti": "other"}, "grant"),
        ({"task": Task.EMBEDDING}, "task"),
        ({"model": "other"}, "model"),
        ({"fingerprint": ZERO}, "fingerprint"),
        ({"request_digest": ZERO}, "request"),
        ({"output_digest": ZERO}, "output"),
        ({"parameters": {}}, "parameters"),
        ({"start": 1}, "start"),
        ({"finish_reason": "length"}, "finish reason"),
        ({"usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": 11}}, "usage"),
        ({"usage": {"input_tokens": PROMPT_TOKENS + 1, "output_tokens": 10}}, "usage"),
        ({"usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": 10, "resumed_tokens": 1}}, "usage"),
        ({"usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": 10, "audio_ms": 1}}, "usage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_receipt_that_states_something_else(change: dict[str, Any], name: str) -> None:
    """Each field that contradicts what was received is found and named."""
    talk = _talk()
    assert f"another {name} than" in _outcome(talk, _done(talk, **change))


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        ({"digest": ZERO}, "output"),
        ({"usage": Usage(input_tokens=PROMPT_TOKENS, output_tokens=9)}, "usage"),
        ({"finish_reason": "length"}, "finish reason"),
    ],
)
def test_done_that_contradicts_its_receipt(frame: dict[str, Any], name: str) -> None:
    """The frame says the same as the receipt inside it."""
    talk = _talk()
    assert f"another {name} than" in _outcome(talk, _done(talk, frame=frame))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"output_digest": ZERO}, "bad_digest"),
        ({"usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": 11}}, "bad_usage"),
        ({"finish_reason": "length"}, "bad_receipt"),
        ({"by": STRANGER}, "bad_receipt"),
        ({"previous_voucher": ZERO}, "bad_receipt"),
    ],
)
def test_what_a_node_is_reported_for(change: dict[str, Any], fault: str) -> None:
    """It is said beside the message, not in its words."""
    talk = _talk()
    assert _refusal(talk, _done(talk, **change)).fault == fault


def test_receipt_of_another_signer() -> None:
    """A receipt that the node did not sign is refused."""
    talk = _talk()
    assert "does not verify" in _outcome(talk, _done(talk, by=STRANGER))


def test_receipt_with_an_unknown_voucher() -> None:
    """The receipt names a voucher of this client or none."""
    talk = _talk()
    assert "did not sign" in _outcome(talk, _done(talk, previous_voucher=ZERO))


def test_receipt_with_another_truth_value() -> None:
    """True and 1 are different parameters: they have different bytes."""
    talk = Conversation.about(speech_params(), Task.WHISPER)
    parameters = {**recorded_parameters(talk.request.body.params), "vad": 1}
    talk.prompt_tokens = 0
    assert "another parameters than" in _outcome(talk, _done(talk, parameters=parameters))


def test_tokens_lost_on_the_way() -> None:
    """A client that missed a frame refuses the receipt for it."""
    talk = _talk()
    talk.node.tokens([1], "x", now=0.0)
    assert "another output" in _outcome(talk, _done(talk))


def test_resumed_job_bills_the_ids() -> None:
    """The segment that ends a resumed job bills prompt and replayed ids."""
    resume = Resume(ids=(1, 2, 3), text_offset=3, prompt_digest=PROMPT_DIGEST)
    talk = Conversation.about(segment=1, start=3, resume=resume, previous_voucher=ZERO)
    talk.say(4)
    (event,) = talk.finish()
    assert isinstance(event, Completed)
    assert (event.usage.resumed_tokens, event.voucher.body.input_count) == (3, PROMPT_TOKENS + 3)
    assert (event.voucher.body.start, event.voucher.body.previous) == (3, ZERO)
    assert talk.node.is_settled


def _pair() -> tuple[Signed[Receipt], Signed[Voucher]]:
    talk = _talk()
    (event,) = talk.finish()
    assert isinstance(event, Completed)
    return event.receipt, event.voucher


def test_pair_fits() -> None:
    """A receipt and its final voucher verify by the keys that they name."""
    receipt, voucher = _pair()
    assert check_pair(receipt.envelope, voucher.envelope) == (receipt, voucher)
    assert open_receipt(receipt.envelope) == receipt
    assert open_voucher(voucher.envelope) == voucher


@pytest.mark.parametrize(
    "change",
    [
        {"network": OTHER_NETWORK},
        {"job": "01a17b3c-5d00-7abc-8def-0123456789ac"},
        {"segment": 1},
        {"node": STRANGER.peer_id},
        {"client": STRANGER.peer_id},
        {"jti": "other"},
        {"task": Task.EMBEDDING},
        {"model": "other"},
        {"start": 1},
        {"receipt": ZERO},
        {"digest": ZERO},
        {"final": False, "receipt": None, "input_count": 0},
        {"count": 11},
        {"count": 9},
        {"input_count": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_pair_that_does_not_fit(change: dict[str, Any]) -> None:
    """A voucher for anything else than the receipt's job and amounts does not co-sign it."""
    receipt, voucher = _pair()
    signer = STRANGER if "client" in change else CLIENT
    other = sign(signer, voucher.body.model_copy(update=change))
    with pytest.raises(VerificationFailed):
        check_pair(receipt.envelope, other.envelope)


def test_pair_with_a_foreign_signature() -> None:
    """Neither half can be signed by another key."""
    receipt, voucher = _pair()
    with pytest.raises(BadSignature):
        check_pair(sign(STRANGER, receipt.body).envelope, voucher.envelope)
    with pytest.raises(BadSignature):
        check_pair(receipt.envelope, sign(STRANGER, voucher.body).envelope)


def test_pair_of_something_else() -> None:
    """A voucher is no receipt."""
    receipt, voucher = _pair()
    with pytest.raises(MalformedMessage):
        check_pair(voucher.envelope, receipt.envelope)
    with pytest.raises(BadSignature):
        open_receipt(Envelope(body=receipt.envelope.body, signature=b""))


def test_a_picture_job_ends() -> None:
    """Image jobs bill image units and no input."""
    talk = Conversation.about(image_params(), Task.IMAGE_GEN)
    for number in range(2):
        talk.node.blob(Blob(id=number, media_type="image/png", data=b"picture", units=64), now=1.0)
    talk.node_sends()
    (event,) = talk.finish(input_tokens=0, images=2, image_units=128)
    assert isinstance(event, Completed)
    assert (event.voucher.body.count, event.voucher.body.input_count) == (128, 0)
    check_pair(event.receipt.envelope, event.voucher.envelope)


def test_only_a_chat_resumes_by_token_ids() -> None:
    """Ids of received tokens are input of a chat; in a request for another task they could be billed by one side."""
    resume = Resume(ids=(1, 2, 3), text_offset=3, prompt_digest=PROMPT_DIGEST)
    with pytest.raises(ValidationError, match="resume"):
        request_body(image_params(), Task.IMAGE_GEN, resume=resume)
