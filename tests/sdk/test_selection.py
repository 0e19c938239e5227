from collections import Counter
from random import Random
from typing import Any

import pytest
from gpunode._cost import Cost
from gpunode._observed import Observed
from gpunode._probe_answer import Probe
from gpunode._selection import (
    Candidate,
    Choice,
    Knowledge,
    Standing,
    Wanted,
    objection,
    rank,
    standing_of,
    to_measure,
    to_probe,
    weight,
    why_not,
)
from gpunode.routing import CostTerms, Limits
from gpunode_protocol.adverts import Gpu
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.sdk.scripted_node import FINGERPRINT
from tests.sdk.world import MODEL, Keys

KEYS = Keys()


def _candidate(number: int, **changes: Any) -> Candidate:
    return Candidate(KEYS.advert(Identity.from_seed(bytes([number]) * 32), **changes), "dht")


def _choice(number: int, cost_ms: float, standing: Standing = Standing.ANSWERED, **changes: Any) -> Choice:
    cost = Cost(CostTerms(rtt_ms=cost_ms), "probe", is_speed_observed=False, output_units_per_s=1.0)
    return Choice(_candidate(number), Probe(cost_ms, 0, 0, 4), cost, standing=standing, **changes)


def _firsts(choices: list[Choice], times: int = 200) -> Counter[float]:
    return Counter(rank(choices, Random(seed))[0].cost_ms for seed in range(times))


def test_the_soonest_answer_comes_first() -> None:
    """Whatever makes the others later."""
    choices = [_choice(1, 200), _choice(2, 10), _choice(3, 40)]
    assert [choice.cost_ms for choice in rank(choices, Random(1))] == [10, 40, 200]


def test_standing_comes_before_cost() -> None:
    """Draining, unasked, silent and failed nodes are tried in this order, after those that answered."""
    choices = [_choice(number, 5 - number, standing) for number, standing in enumerate(reversed(Standing), 1)]
    assert [choice.standing for choice in rank(choices, Random(1))] == sorted(Standing)


def test_if_everybody_failed_the_best_is_tried_all_the_same() -> None:
    """Breakers order, they do not forbid."""
    choices = [_choice(1, 40, Standing.FAILED), _choice(2, 10, Standing.FAILED)]
    assert [choice.cost_ms for choice in rank(choices, Random(1))] == [10, 40]


def test_equally_good_ones_are_not_always_in_the_same_order() -> None:
    """Clients must not all choose the same node; 10 ms are the jitter of a home connection, 11 are distance."""
    assert set(_firsts([_choice(1, 20), _choice(2, 25), _choice(3, 30)])) == {20, 25, 30}
    assert set(_firsts([_choice(1, 20), _choice(2, 31)])) == {20}


def test_among_equally_good_ones_the_plans_weight_decides_how_often() -> None:
    """Memory and success, and a tenth for those without a free slot."""
    full = Probe(rtt_ms=1, active=4, queued=0, slots=4)
    large = _candidate(1, gpu=Gpu(model="A", count=1, memory_mb=24 * 1024))
    middle = _candidate(2, gpu=Gpu(model="B", count=1, memory_mb=12 * 1024))
    assert [weight(Choice(item)) for item in (large, middle, _candidate(3))] == [150, 120, 100]
    assert weight(Choice(large, full)) == 15
    assert weight(Choice(large, observed=Observed(failure_share=0.5))) == 75
    firsts = _firsts([_choice(1, 20, observed=Observed(failure_share=0.9)), _choice(2, 21)])
    assert firsts[20] < firsts[21] / 4


def test_where_a_node_stands() -> None:
    """A failure counts before everything, silence only for those that were asked."""
    answer, leaving = Probe(1, 0, 0, 4), Probe(1, 0, 0, 4, draining=True)
    node = _candidate(1).node
    assert standing_of(node, answer, blocked={node}, asked={node}) is Standing.FAILED
    assert standing_of(node, answer, blocked=(), asked={node}) is Standing.ANSWERED
    assert standing_of(node, leaving, blocked=(), asked={node}) is Standing.DRAINING
    assert standing_of(node, None, blocked=(), asked={node}) is Standing.SILENT
    assert standing_of(node, None, blocked=(), asked=()) is Standing.NOT_ASKED


def test_a_choice_names_its_node_and_model() -> None:
    """As the request has to."""
    candidate = _candidate(1)
    assert (Choice(candidate).node, Choice(candidate).model) == (candidate.node, MODEL)


def test_at_most_eight_are_probed_those_of_the_own_region_first() -> None:
    """Then those whose stated round trip to this region is smallest."""
    foreign = [_candidate(number, region=Region.EUROPE, rtt_ms={"asia": 300 - number}) for number in range(10, 20)]
    own = [_candidate(number, region=Region.ASIA) for number in (30, 31)]
    chosen = to_probe([*foreign, *own], Knowledge(Region.ASIA), Random(1))
    assert len(chosen) == 8
    assert {item.node for item in chosen[:2]} == {item.node for item in own}
    assert chosen[2:] == sorted(foreign, key=lambda item: item.body.rtt_ms["asia"])[:6]


def test_what_was_measured_counts_before_what_is_claimed() -> None:
    """A node that says it is in this region and is not is asked later from the second time on."""
    near = [_candidate(number, region=Region.EUROPE, rtt_ms={"asia": 50}) for number in range(10, 18)]
    liar = _candidate(30, region=Region.ASIA)
    assert liar in to_probe([*near, liar], Knowledge(Region.ASIA), Random(1))
    known = Knowledge(Region.ASIA, {liar.node: 230.0})
    assert liar not in to_probe([*near, liar], known, Random(1))


def test_nodes_that_answered_just_now_come_before_those_that_would_have_to_be_asked() -> None:
    """Unless they have failed since: then others take their place."""
    candidates = [_candidate(number) for number in range(10, 26)]
    ready = {candidate.node for candidate in candidates[:8]}
    assert {item.node for item in to_probe(candidates, Knowledge(ready=ready), Random(1))} == ready
    failed = candidates[0].node
    chosen = to_probe(candidates, Knowledge(blocked={failed}, ready=ready), Random(1))
    assert {item.node for item in chosen} > ready - {failed}
    assert failed not in {item.node for item in chosen}


def test_failed_nodes_give_way_to_others_at_probing() -> None:
    """With more than eight candidates there is better use for a probe."""
    candidates = [_candidate(number) for number in range(10, 20)]
    blocked = {candidates[0].node, candidates[1].node}
    chosen = to_probe(candidates, Knowledge(blocked=blocked), Random(1))
    assert blocked.isdisjoint(candidate.node for candidate in chosen)


@pytest.mark.parametrize(
    ("changes", "wanted", "reason"),
    [
        ({}, Wanted(Task.LLM, MODEL), None),
        ({}, Wanted(Task.LLM), None),
        ({"tombstone": True}, Wanted(Task.LLM), "has left"),
        ({}, Wanted(Task.WHISPER), "not whisper"),
        ({}, Wanted(Task.LLM, "other"), "another model"),
    ],
)
def test_why_an_advert_is_about_something_else(changes: dict[str, Any], wanted: Wanted, reason: str | None) -> None:
    """Task, model and life."""
    said = why_not(_candidate(1, **changes).body, wanted)
    assert said is None if reason is None else reason in (said or "")


NODE, OTHER = _candidate(1).node, _candidate(2).node


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Wanted(Task.LLM, region=Region.ASIA), None),
        (Wanted(Task.LLM, region=Region.AFRICA), "is not in africa"),
        (Wanted(Task.LLM, own=frozenset({NODE})), None),
        (Wanted(Task.LLM, own=frozenset()), "not linked to your account"),
        (Wanted(Task.LLM, limits=Limits(allow_nodes=frozenset({NODE}))), None),
        (Wanted(Task.LLM, limits=Limits(allow_nodes=frozenset({OTHER}))), "allowed"),
        (Wanted(Task.LLM, limits=Limits(deny_nodes=frozenset({OTHER}))), None),
        (Wanted(Task.LLM, limits=Limits(deny_nodes=frozenset({NODE}))), "denied"),
        (Wanted(Task.LLM, limits=Limits(min_sandbox=2)), None),
        (Wanted(Task.LLM, limits=Limits(min_sandbox=3)), "sandbox level 2, 3 is required"),
        (Wanted(Task.LLM, limits=Limits(fingerprint=FINGERPRINT.hex().upper())), None),
        (Wanted(Task.LLM, limits=Limits(fingerprint="0" * 64)), "another fingerprint"),
    ],
)
def test_why_a_node_may_not(wanted: Wanted, reason: str | None) -> None:
    """Each demand says what it misses."""
    said = objection(_candidate(1, sandbox=2).body, wanted)
    assert said is None if reason is None else reason in (said or "")


def test_of_each_region_as_many_are_measured() -> None:
    """However many of the nodes are elsewhere; what was measured before counts."""
    asia = [_candidate(number) for number in range(1, 40)]
    europe = [_candidate(number, region=Region.EUROPE) for number in range(40, 43)]
    america = [_candidate(number, region=Region.AMERICA) for number in range(43, 60)]
    candidates = [*asia, *europe, *america]
    chosen = to_measure(candidates, {item.node for item in america[:3]}, Random(1))
    assert Counter(item.body.region for item in chosen) == {Region.ASIA: 4, Region.EUROPE: 3, Region.AMERICA: 1}
    measured = {item.node for item in candidates[1:]}
    assert to_measure(candidates, measured, Random(1)) == candidates[:1]


def test_a_node_is_measured_once_and_never_through_a_relay() -> None:
    """It may serve several models; a relay's way is longer than its own."""
    candidates = [_candidate(1), _candidate(1, model="other"), _candidate(2, path="relayed")]
    assert [item.node for item in to_measure(candidates, (), Random(1))] == [candidates[0].node]
