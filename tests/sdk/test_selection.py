from random import Random
from typing import Any

import pytest
from gpunode._selection import Candidate, Choice, Probe, Wanted, rank, to_probe, why_not
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.sdk.world import MODEL, Keys

KEYS = Keys()


def _candidate(number: int, **changes: Any) -> Candidate:
    return Candidate(KEYS.advert(Identity.from_seed(bytes([number]) * 32), **changes), "dht")


def _probe(rtt_ms: float, *, active: int = 0, queued: int = 0, draining: bool = False) -> Probe:
    return Probe(rtt_ms=rtt_ms, active=active, queued=queued, slots=4, draining=draining)


CANDIDATES = [_candidate(number) for number in (3, 2, 1)]
FARTHEST, FAR, NEAR = (candidate.node for candidate in CANDIDATES)


def _ranked(probes: dict[PeerId, Probe], *, blocked: tuple[PeerId, ...] = ()) -> list[PeerId]:
    return [choice.node for choice in rank(CANDIDATES, probes, blocked=blocked, random=Random(1))]


def test_the_nearest_comes_first() -> None:
    """Whatever its load, if the distance is more than jitter."""
    probes = {NEAR: _probe(10, active=4, queued=3), FAR: _probe(40), FARTHEST: _probe(200)}
    assert _ranked(probes) == [NEAR, FAR, FARTHEST]


def test_among_equally_near_ones_the_least_loaded_comes_first() -> None:
    """Within 5 ms, distance says nothing."""
    probes = {NEAR: _probe(10, active=4), FAR: _probe(14, active=1), FARTHEST: _probe(200)}
    assert _ranked(probes) == [FAR, NEAR, FARTHEST]


def test_draining_silent_and_failed_nodes_come_last() -> None:
    """In this order."""
    assert _ranked({NEAR: _probe(1, draining=True), FAR: _probe(99)}) == [FAR, NEAR, FARTHEST]
    assert _ranked({NEAR: _probe(1), FAR: _probe(99)}, blocked=(NEAR,)) == [FAR, FARTHEST, NEAR]


def test_if_everybody_failed_the_nearest_is_tried_all_the_same() -> None:
    """Breakers order, they do not forbid."""
    probes = {NEAR: _probe(10), FAR: _probe(40), FARTHEST: _probe(200)}
    assert _ranked(probes, blocked=(NEAR, FAR, FARTHEST)) == [NEAR, FAR, FARTHEST]


def test_equals_are_not_always_in_the_same_order() -> None:
    """Clients must not all choose the same node."""
    probes = {node: _probe(1) for node in (NEAR, FAR, FARTHEST)}
    firsts = {rank(CANDIDATES, probes, blocked=(), random=Random(seed))[0].node for seed in range(20)}
    assert len(firsts) == 3


def test_a_choice_keeps_its_probe() -> None:
    """The route shows it."""
    (choice,) = rank(CANDIDATES[:1], {FARTHEST: _probe(7)}, blocked=(), random=Random(1))
    assert choice == Choice(CANDIDATES[0], _probe(7))
    assert (choice.node, choice.model) == (FARTHEST, MODEL)


def test_at_most_eight_are_probed_those_of_the_own_region_first() -> None:
    """Then those whose measured round trip to this region is smallest."""
    foreign = [_candidate(number, region=Region.EUROPE, rtt_ms={"asia": 300 - number}) for number in range(10, 20)]
    own = [_candidate(number, region=Region.ASIA) for number in (30, 31)]
    chosen = to_probe([*foreign, *own], home=Region.ASIA, blocked=(), random=Random(1))
    assert len(chosen) == 8
    assert {item.node for item in chosen[:2]} == {item.node for item in own}
    assert chosen[2:] == sorted(foreign, key=lambda item: item.body.rtt_ms["asia"])[:6]


def test_nodes_that_answered_just_now_come_before_those_that_would_have_to_be_asked() -> None:
    """Unless they have failed since: then others take their place."""
    candidates = [_candidate(number) for number in range(10, 26)]
    ready = {candidate.node for candidate in candidates[:8]}
    assert {item.node for item in to_probe(candidates, home=None, blocked=(), random=Random(1), ready=ready)} == ready
    failed = candidates[0].node
    chosen = to_probe(candidates, home=None, blocked={failed}, random=Random(1), ready=ready)
    assert {item.node for item in chosen} > ready - {failed}
    assert failed not in {item.node for item in chosen}


def test_failed_nodes_give_way_to_others_at_probing() -> None:
    """With more than eight candidates there is better use for a probe."""
    candidates = [_candidate(number) for number in range(10, 20)]
    blocked = {candidates[0].node, candidates[1].node}
    chosen = to_probe(candidates, home=None, blocked=blocked, random=Random(1))
    assert blocked.isdisjoint(candidate.node for candidate in chosen)


@pytest.mark.parametrize(
    ("changes", "wanted", "reason"),
    [
        ({}, Wanted(Task.LLM, MODEL, Region.ASIA), None),
        ({}, Wanted(Task.LLM), None),
        ({"tombstone": True}, Wanted(Task.LLM), "has left"),
        ({}, Wanted(Task.WHISPER), "not whisper"),
        ({}, Wanted(Task.LLM, "other"), "another model"),
        ({}, Wanted(Task.LLM, None, Region.AFRICA), "not in africa"),
    ],
)
def test_why_an_advert_does_not_qualify(changes: dict[str, Any], wanted: Wanted, reason: str | None) -> None:
    """Task, model, region and life."""
    said = why_not(_candidate(1, **changes).body, wanted)
    assert said is None if reason is None else reason in (said or "")


def test_load_counts_jobs_for_each_slot() -> None:
    """Waiting jobs count like running ones."""
    assert _probe(1, active=4, queued=2).load == 1.5
    assert Probe(rtt_ms=1, active=1, queued=0, slots=0).load == 1.0
