import math
from typing import Any

import pytest
from gpunode.errors import InvalidRequest
from gpunode.routing import CostTerms, Limits
from gpunode_protocol.identity import Identity

NODE = Identity.from_seed(b"\x01" * 32).peer_id


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"allow_nodes": ["…abcd1234"]}, "no whole node id"),
        ({"deny_nodes": [NODE[:-1]]}, "no whole node id"),
        ({"max_price_credits": -1}, "maximum price"),
        ({"max_price_credits": math.nan}, "maximum price"),
        ({"max_price_credits": math.inf}, "maximum price"),
        ({"min_sandbox": 4}, "from 0 to 3"),
        ({"min_sandbox": -1}, "from 0 to 3"),
        ({"fingerprint": "abc"}, "64 hex digits"),
        ({"fingerprint": "g" * 64}, "64 hex digits"),
    ],
)
def test_demands_that_no_node_could_meet_are_refused(limits: dict[str, Any], told: str) -> None:
    """At once, with what would be right."""
    with pytest.raises(InvalidRequest, match=told):
        Limits(**limits)


def test_any_collection_of_nodes_will_do() -> None:
    """Limits are remembered as keys, so that they are frozen."""
    given: Any = [NODE, NODE]
    assert Limits(allow_nodes=given).allow_nodes == {NODE}
    assert hash(Limits(allow_nodes=given)) == hash(Limits(allow_nodes=frozenset({NODE})))


def test_the_maximum_price_is_exact() -> None:
    """To the micro-credit, as nodes and ledger count."""
    prices = [Limits(max_price_credits=price).max_price_microcredits for price in (None, 0, 0.02, 0.000029, 1e308)]
    assert prices == [None, 0, 20_000, 29, 10**21]


def test_terms_add_up() -> None:
    """By their names without the unit."""
    terms = CostTerms(rtt_ms=1, queue_ms=2, model_load_ms=4, prefill_ms=8, decode_ms=16, sharing_ms=32)
    assert terms.total_ms == 63
    assert terms.by_name()["model_load"] == 4
    assert len(terms.by_name()) == 10
    every = CostTerms(**{f"{name}_ms": 2.0**power for power, name in enumerate(terms.by_name())})
    assert every.total_ms == sum(every.by_name().values()) == 2**10 - 1
