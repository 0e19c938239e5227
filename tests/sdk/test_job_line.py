from types import SimpleNamespace
from typing import Any

from gpunode.job_line import job_line

ROUTE = SimpleNamespace(node="12D3KooWabcd1234", region="asia", rtt_ms=0.44, path="direct", source="dht")
RESULT: Any = SimpleNamespace(model="m", route=ROUTE, receipt=SimpleNamespace(id="r"))


def test_the_facts_stand_between_route_and_receipt() -> None:
    """As many as there are."""
    told = "[m · …abcd1234 in asia · 0.4 ms direct, found by dht · receipt r verified]"
    assert job_line(RESULT) == told
    assert job_line(RESULT, "2 s", "seed 1") == told.replace("receipt", "2 s · seed 1 · receipt")
