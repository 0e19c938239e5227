import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode._cost import Cost, JobSize
from gpunode._explaining import explanation_of
from gpunode._finder import Placement, Ranking
from gpunode._probe_answer import Probe
from gpunode._selection import Candidate, Choice, Standing, Wanted
from gpunode.cli_route import HEADINGS
from gpunode.routing import CostTerms
from gpunode_protocol.doubts import PLACE_DOUBTFUL
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.sdk.world import MODEL, Keys

KEYS = Keys()
ROUTING_DOCUMENT = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")
REASONS = re.findall(r"^\| `([^`]+)` \| [^|]+\|$", ROUTING_DOCUMENT, re.MULTILINE)
"""First cells of its tables of two columns."""
PLACEMENT = Placement(Wanted(Task.LLM, MODEL), size=JobSize(10, 20))


def _choice(number: int, standing: Standing = Standing.ANSWERED, **terms: float) -> Choice:
    candidate = Candidate(KEYS.advert(Identity.from_seed(bytes([number]) * 32)), "index")
    probe = Probe(1, active=1, queued=2, slots=4) if standing < Standing.NOT_ASKED else None
    cost = Cost(CostTerms(**terms), "probe", is_speed_observed=True, output_units_per_s=40)
    return Choice(candidate, probe, cost, standing=standing)


def _whys(*choices: Choice) -> list[str]:
    return [item.why for item in explanation_of(Ranking(list(choices)), PLACEMENT).candidates]


def test_why_others_lost() -> None:
    """How much slower, and what makes most of it; or why their time does not matter."""
    assert _whys(
        _choice(1, rtt_ms=10, decode_ms=100),
        _choice(2, rtt_ms=15, decode_ms=100),
        _choice(3, rtt_ms=60, decode_ms=500, prefill_ms=1),
        _choice(4, Standing.DRAINING),
        _choice(5, Standing.NOT_ASKED),
        _choice(6, Standing.SILENT),
        _choice(7, Standing.FAILED),
    ) == [
        "chosen: it should answer soonest",
        "as good (within 10 ms): chance decided",
        "451 ms slower: writing +400, RTT +50",
        "is leaving and takes no new jobs",
        "not asked: others should be nearer",
        "did not answer the probe in time",
        "failed lately: tried last",
    ]


def test_a_choice_for_want_of_a_better_one_is_called_so() -> None:
    """All nodes have failed: the best of them is tried all the same."""
    assert _whys(_choice(1, Standing.FAILED)) == ["chosen, for want of a better one: failed lately: tried last"]


def test_what_is_told_of_a_candidate() -> None:
    """Where it is, what was reckoned with, and what it answered."""
    ranking = Ranking([_choice(1, rtt_ms=10), _choice(2, Standing.SILENT)], Counter({"is not in asia": 3}))
    told = explanation_of(ranking, PLACEMENT)
    assert (told.task, told.model, told.input_units, told.output_units) == ("llm", MODEL, 10, 20)
    assert told.excluded == {"is not in asia": 3}
    assert (told.home, told.home_from) == (None, None)
    best, other = told.candidates
    assert told.chosen is best
    here = explanation_of(ranking, replace(PLACEMENT, home=Region.ASIA, home_from="geoip"))
    assert (here.home, here.home_from) == ("asia", "geoip")
    assert (best.chosen, other.chosen) == (True, False)
    assert (best.cost_ms, best.speed_from, best.tokens_per_s, best.source) == (10, "observed", 40, "index")
    assert (best.active, best.queued, best.slots) == (1, 2, 4)
    assert (other.active, other.queued, other.slots) == (None, None, None)
    assert (best.place_doubtful, other.place_doubtful) == (False, False)


def test_a_doubtful_place_is_told() -> None:
    """It is no reason to lose, but to be known, of whoever is chosen too."""
    one, other = _choice(1, rtt_ms=10), _choice(2, rtt_ms=60)
    for doubted in (one, other):
        placement = replace(PLACEMENT, doubtful=frozenset({doubted.node}))
        told = explanation_of(Ranking([one, other]), placement).candidates
        assert [item.place_doubtful for item in told] == [doubted is one, doubted is other]
        assert [PLACE_DOUBTFUL in item.why for item in told] == [doubted is one, doubted is other]
        assert told[0].why.startswith("chosen: it should answer soonest")


@pytest.mark.parametrize("standing", [standing for standing in Standing if standing is not Standing.ANSWERED])
def test_the_document_explains_every_reason(standing: Standing) -> None:
    """docs/routing.md has the words that callers see."""
    best, *others = _whys(_choice(1), _choice(2, standing), _choice(3))
    (alone,) = _whys(_choice(1, standing))
    assert {best, *others} - set(REASONS) == set()
    assert alone.replace(others[0], "…") in REASONS
    assert any(reason.endswith(PLACE_DOUBTFUL) for reason in REASONS)
    assert "… ms slower: …" in REASONS


def test_the_document_has_every_column() -> None:
    """With the term that stands in it."""
    columns = dict(re.findall(r"^\| `(\w+)_ms` \| (\S+) \|", ROUTING_DOCUMENT, re.MULTILINE))
    assert columns == HEADINGS
