"""Answers that are written once a second, and what they must not miss."""

import pytest
from gpunode_protocol.adverts import Advert
from gpunode_protocol.certificates import certificate_for
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed, read_body, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NodesReply, RegionsReply
from gpunode_tracker.geoip import Unplaced
from gpunode_tracker.lookup_answers import LIFETIME_S, MAX_ANSWERS
from gpunode_tracker.region_overview import regions_reply
from gpunode_tracker.tracker import Tracker

from tests.tracker.parties import MODEL, START_AT, TestClock, advert

NODE = Identity.from_seed(b"n" * 32)


def _advert(tracker: Tracker, sequence: int = 1, **changes: object) -> Signed[Advert]:
    network = tracker.keys.network
    certificate = sign(NODE, certificate_for(NODE.peer_id, network=network, kid="k", now=START_AT)).envelope
    return advert(NODE, certificate, network, sequence=sequence, **changes)  # type: ignore[arg-type]  # -- any field


def _listed(tracker: Tracker, **wanted: object) -> list[int]:
    """Return the sequences of the adverts in a signed index, which verifies."""
    fields = {"task": Task.LLM, "model": MODEL, "region": None} | wanted
    body = tracker.answers.nodes(**fields)  # type: ignore[arg-type]  # -- as named
    index = tracker.keys.trust.open_index(NodesReply.model_validate_json(body).index).body
    return [read_body(Advert, envelope).sequence for envelope in index.adverts]


def test_the_same_question_has_the_same_bytes(tracker: Tracker, clock: TestClock) -> None:
    """For a second; then they are signed anew."""
    tracker.index.update(_advert(tracker), clock())
    first = tracker.answers.nodes(task=None, model=MODEL, region=None)
    assert tracker.answers.nodes(task=None, model=MODEL, region=None) is first
    clock.advance(LIFETIME_S)
    assert tracker.answers.nodes(task=None, model=MODEL, region=None) != first


def test_who_comes_and_leaves_is_seen_at_once(tracker: Tracker, clock: TestClock) -> None:
    """By every question that it concerns; also whose certificate was revoked, and who moved."""
    assert _listed(tracker) == []
    tracker.index.update(_advert(tracker), clock())
    assert _listed(tracker) == [1]
    assert _listed(tracker, region=Region.EUROPE) == [1]
    tracker.index.update(_advert(tracker, 2, region=Region.ASIA), clock())
    assert _listed(tracker, region=Region.EUROPE) == []
    tracker.index.update(_advert(tracker, 3, tombstone=True), clock())
    assert _listed(tracker) == []
    tracker.index.update(_advert(tracker, 4), clock())
    assert _listed(tracker) == [4]
    tracker.index.remove(NODE.peer_id)
    assert _listed(tracker) == []


def test_renewals_and_silence_are_seen_a_second_later(tracker: Tracker, clock: TestClock) -> None:
    """A thousand heartbeats in a second make no thousand signatures."""
    tracker.index.update(_advert(tracker, expires_at=START_AT + 2), clock())
    assert _listed(tracker) == [1]
    tracker.index.update(_advert(tracker, 2, expires_at=START_AT + 2), clock())
    assert _listed(tracker) == [1]
    clock.advance(LIFETIME_S)
    assert _listed(tracker) == [2]
    clock.advance(LIFETIME_S)
    assert _listed(tracker) == []


def test_a_clock_that_goes_back(tracker: Tracker, clock: TestClock) -> None:
    """What was written in the future does not stay until then."""
    clock.advance(200)  # no key signs before the tracker was made
    tracker.index.update(_advert(tracker, expires_at=START_AT + 1_000), clock())
    first = tracker.answers.nodes(task=None, model=MODEL, region=None)
    clock.advance(-100)
    assert tracker.answers.nodes(task=None, model=MODEL, region=None) != first


def test_memory_is_bounded(tracker: Tracker) -> None:
    """Anybody may ask for any model."""
    for number in range(3 * MAX_ANSWERS):
        tracker.answers.nodes(task=None, model=f"model-{number}", region=None)
    assert len(tracker.answers._indices._answers) <= MAX_ANSWERS


@pytest.mark.parametrize("workers", [{}, {"asia": 3}])
def test_regions(tracker: Tracker, clock: TestClock, workers: dict[str, int]) -> None:
    """What is kept is what would be written, and other numbers of workers are seen at once."""
    tracker.index.update(_advert(tracker), clock())
    tracker.answers.regions(Unplaced.NO_DATABASE, {"asia": 1})
    body = tracker.answers.regions(Unplaced.NO_DATABASE, workers)
    counts = tracker.index.regions(clock())
    expected = regions_reply(counts, Unplaced.NO_DATABASE, tracker.geoip.built_at, workers)
    assert RegionsReply.model_validate_json(body) == expected
    assert tracker.answers.regions(Unplaced.NO_DATABASE, workers) is body


def test_a_worker_s_answer_is_kept_until_something_about_it_changes(tracker: Tracker, clock: TestClock) -> None:
    """Or for a second; each worker has an answer of its own."""
    answers = tracker.answers
    assert answers.find_worker("a", (1,)) is None
    assert answers.keep_worker("a", (1,), b"first") == b"first"
    assert (answers.find_worker("a", (1,)), answers.find_worker("b", (1,))) == (b"first", None)
    assert answers.find_worker("a", (2,)) is None
    answers.keep_worker("a", (2,), b"second")
    assert answers.find_worker("a", (2,)) == b"second"
    clock.advance(LIFETIME_S)
    assert answers.find_worker("a", (2,)) is None
