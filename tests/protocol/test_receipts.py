"""Receipts and the parameters that they bind."""

from typing import Any

import pytest
from gpunode_protocol import canonical
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.receipts import Receipt, recorded_parameters
from gpunode_protocol.signing import Envelope, open_signed, sign, signing_input

from tests.protocol.ledger_samples import completed_chat
from tests.protocol.samples import NODE, chat_params, embedding_params, image_params, speech_params

RECEIPT = completed_chat().receipt
FIELDS = RECEIPT.body.to_map()


def test_round_trip() -> None:
    """A receipt is read as it was signed."""
    assert open_signed(Receipt, sign(NODE, RECEIPT.body).envelope, NODE.public_key) == RECEIPT


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"usage": {**FIELDS["usage"], "unknown": 1}},
        {"usage": {"input_tokens": 17, "output_tokens": 10}},
        {"previous_voucher": None},
        {"parameters": {"seed": b"1"}},
        {"parameters": {"seed": "x" * 65}},
        {"parameters": {"x" * 65: 1}},
        {"fingerprint": b""},
        {"ttft_ms": -1},
        {"finish_reason": "x" * 33},
        {"usage": {**FIELDS["usage"], "output_tokens": -1}},
    ],
    ids=str,
)
def test_closed_and_typed(change: dict[str, Any]) -> None:
    """Unknown keys at any depth and values out of range are refused, though the node signed them."""
    body = canonical.encode({**FIELDS, **change})
    signature = NODE.sign_bytes(signing_input("receipt", body))
    with pytest.raises(MalformedMessage):
        open_signed(Receipt, Envelope(body=body, signature=signature), NODE.public_key)


def test_parameters_hold_no_texts() -> None:
    """Numbers and choices are recorded, prompts and other texts are not."""
    chat = recorded_parameters(chat_params(seed=7, stop=("secret",), tools="secret").to_map())
    assert (chat["max_tokens"], chat["seed"]) == (256, 7)
    picture = recorded_parameters(image_params(negative_prompt="secret").to_map())
    assert (picture["width"], picture["mode"], picture["n"]) == (64, "text", 2)
    speech = recorded_parameters(speech_params(initial_prompt="secret").to_map())
    assert (speech["max_audio_ms"], speech["vad"]) == (60_000, True)
    embedding = recorded_parameters(embedding_params().to_map())
    assert embedding == {"normalize": True}
    for recorded in (chat, picture, speech):
        assert not {"messages", "prompt", "negative_prompt", "stop", "tools", "initial_prompt"} & recorded.keys()
        assert "secret" not in str(recorded)


def test_recorded_parameters_of_other_types() -> None:
    """A parameter of an odd type or a long text under a recorded name is left out."""
    assert recorded_parameters({"seed": None, "mode": "x" * 65, "n": (1,), "steps": 3}) == {"steps": 3}
