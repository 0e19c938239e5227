"""Bodies of settlements: malformed, oversized, too many."""

import io
import json

import pytest
from gpunode_protocol import tracker_api as api

from tests.tracker.conftest import World


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("", 400, "not valid JSON"),
        ("{", 400, "not valid JSON"),
        ("\xff", 400, "not valid JSON"),
        ("[]", 422, "SettlementBatch"),
        ("{}", 422, "items"),
        ('{"items": []}', 422, "items"),
        ('{"items": [{"voucher": {"body": "!!!", "signature": ""}}]}', 422, "items.0.voucher.body"),
        (json.dumps({"items": [{"voucher": {"body": "", "signature": ""}}] * 1001}), 422, "items"),
    ],
)
async def test_malformed_bodies(world: World, body: str, status: int, says: str) -> None:
    """The answer names the field, and is a problem document."""
    response = await world.http.post(api.SETTLEMENTS_PATH, data=body.encode("latin-1"))
    problem = api.Problem.model_validate_json(await response.text())
    assert (response.status, response.content_type) == (status, "application/problem+json")
    assert says in problem.detail


async def test_garbage_items_are_rejected_singly(world: World) -> None:
    """An unreadable voucher does not spoil the batch."""
    deal = await world.job()
    garbage = api.SettlementItem.model_validate({"voucher": {"body": b"\x81", "signature": b""}})
    results = await world.settle(garbage, deal.job.item(1), garbage)
    assert [result.status for result in results] == ["rejected", "settled", "rejected"]
    metrics = await (await world.get("/metrics")).text()
    assert 'gpunode_tracker_settlement_items_total{status="rejected"} 2.0' in metrics


@pytest.mark.parametrize("chunked", [False, True])
async def test_oversized_bodies(world: World, chunked: bool) -> None:
    """More than 8 MiB is refused, whether or not its length is declared."""
    data = b" " * (8 * 1024 * 1024 + 1)

    async def stream() -> object:
        yield data

    response = await world.http.post(api.SETTLEMENTS_PATH, data=stream() if chunked else io.BytesIO(data))
    assert (response.status, response.content_type) == (413, "application/problem+json")
