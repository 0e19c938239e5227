"""Bodies of administration."""

from typing import Any

import pytest
from gpunode_protocol import admin_api as api
from gpunode_protocol.signing import WireModel
from pydantic import ValidationError

PRICE = {"input_microcredits": 1, "output_microcredits": 2}


def test_a_key_with_nothing_named_leaves_all_open() -> None:
    """What is not named is decided by the tracker."""
    request = api.KeyRequest.model_validate_json("{}")
    assert (request.scopes, request.expires_at, request.requests_per_minute) == (None, None, None)
    assert api.KeyRotation.model_validate_json("{}").grace_s == 24 * 3600


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (api.AccountCreation, {"name": ""}),
        (api.AccountCreation, {"name": "a\x1bb"}),
        (api.AccountCreation, {"name": "a", "credits": -1}),
        (api.AccountCreation, {"name": "a", "credits": 10**9 + 1}),
        (api.CreditsOrder, {"credits": 0}),
        (api.CreditsOrder, {"credits": 1, "memo": "a\nb"}),
        (api.KeyRequest, {"scopes": []}),
        (api.KeyRequest, {"scopes": ["everything"]}),
        (api.KeyRequest, {"requests_per_minute": 0}),
        (api.KeyRequest, {"expires_at": -1}),
        (api.KeyRequest, {"name": "x" * 101}),
        (api.KeyRotation, {"grace_s": 31 * 24 * 3600}),
        (api.BanOrder, {"kind": "country", "subject": "x", "reason": "y"}),
        (api.BanOrder, {"kind": "account", "subject": "", "reason": "y"}),
        (api.BanOrder, {"kind": "account", "subject": "x", "reason": ""}),
        (api.BanOrder, {"kind": "account", "subject": "x", "reason": "a\r\nb"}),
        (api.PriceOrder, {"replaces": 1, "tasks": {"poetry": PRICE}}),
        (api.PriceOrder, {"replaces": 1, "tasks": {"llm": PRICE | {"input_microcredits": 10**9 + 1}}}),
        (api.PriceOrder, {"replaces": 1, "tasks": {"llm": PRICE}, "models": {"no name": PRICE}}),
    ],
)
def test_values_at_which_bodies_are_refused(model: type[WireModel], body: dict[str, Any]) -> None:
    """Each limit holds."""
    with pytest.raises(ValidationError):
        model.model_validate(body)


def test_a_whole_price_order() -> None:
    """Tasks are those of the network, models have the names of models."""
    order = api.PriceOrder.model_validate_json(
        '{"replaces": 3, "tasks": {"llm": {"input_microcredits": 0, "output_microcredits": 5}},'
        ' "models": {"qwen2.5-7b": {"input_microcredits": 1, "output_microcredits": 9}}}'
    )
    assert order.tasks["llm"].output_microcredits == 5  # type: ignore[index]  # -- a task is its name
    assert order.models["qwen2.5-7b"].input_microcredits == 1
