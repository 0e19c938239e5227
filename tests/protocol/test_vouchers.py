"""Vouchers: closed bodies whose fields fit together."""

from typing import Any

import pytest
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.signing import open_signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import Voucher

from tests.protocol.samples import CLIENT, JOB, JTI, NETWORK, NODE

FIELDS: dict[str, Any] = {
    "v": 1,
    "network": NETWORK,
    "job": JOB,
    "segment": 0,
    "node": NODE.peer_id,
    "client": CLIENT.peer_id,
    "jti": JTI,
    "task": "llm",
    "model": "smollm2-135m",
    "start": 0,
    "count": 64,
    "input_count": 0,
    "digest": b"\x01" * 32,
    "final": False,
}
FINAL: dict[str, Any] = {**FIELDS, "final": True, "receipt": b"\x02" * 32, "input_count": 17}


@pytest.mark.parametrize("fields", [FIELDS, FINAL, {**FIELDS, "previous": b"\x03" * 32}, {**FINAL, "input_count": 0}])
def test_round_trip(fields: dict[str, Any]) -> None:
    """A voucher is read as it was signed."""
    voucher = Voucher.from_map(fields)
    assert voucher.task is Task.LLM
    signed = sign(CLIENT, voucher)
    assert open_signed(Voucher, signed.envelope, CLIENT.public_key).body == voucher


@pytest.mark.parametrize("key", sorted(FIELDS.keys() - {"v"}))
def test_every_field_is_needed(key: str) -> None:
    """A voucher without one of its fields is refused."""
    with pytest.raises(MalformedMessage):
        Voucher.from_map({name: value for name, value in FIELDS.items() if name != key})


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"network": "x"},
        {"network": NETWORK + "\n"},
        {"job": JOB.upper()},
        {"job": "01a17b3c-5d00-4abc-8def-0123456789ab"},
        {"segment": 64},
        {"segment": -1},
        {"node": "someone"},
        {"jti": "a/b"},
        {"jti": ""},
        {"task": "chess"},
        {"model": "*"},
        {"count": -1},
        {"count": True},
        {"count": 2**63},
        {"digest": b"\x01" * 31},
        {"digest": "01" * 32},
        {"final": 0},
    ],
    ids=repr,
)
def test_fields_have_limits(change: dict[str, Any]) -> None:
    """An unknown key, a wrong type or a value out of range is refused."""
    with pytest.raises(MalformedMessage):
        Voucher.from_map({**FIELDS, **change})


@pytest.mark.parametrize(
    "fields",
    [
        {**FIELDS, "input_count": 1},
        {**FIELDS, "receipt": b"\x02" * 32},
        {key: value for key, value in FINAL.items() if key != "receipt"},
    ],
    ids=["input before the end", "receipt before the end", "end without receipt"],
)
def test_input_and_receipt_belong_to_the_end(fields: dict[str, Any]) -> None:
    """Input is billed by the final voucher only, which names the receipt it agrees with."""
    with pytest.raises(MalformedMessage):
        Voucher.from_map(fields)
