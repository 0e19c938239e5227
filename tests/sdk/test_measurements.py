import json
import logging
import stat
from pathlib import Path

import pytest
from gpunode._measurements import (
    JOBS_KEPT_S,
    KEPT_S,
    LIES_KEPT_S,
    MAX_JOBS,
    MAX_NODES,
    RTT_WINDOW_S,
    SAVE_INTERVAL_S,
    SUMMARY_S,
    Measurements,
)
from gpunode._observed import NOTHING_OBSERVED, Timing
from gpunode_protocol.regions import Region

MODEL = "m"
HUGE = "1" + 400 * "0"
"""An integer that is no float."""


class _Book:
    """Measurements with a clock that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.path = folder / "measurements.json"
        self.kept = self.reopened()

    def reopened(self) -> Measurements:
        """Return what the next run reads."""
        return Measurements(self.path, clock=lambda: self.now)

    def timing(self, decode_ms: float = 1000.0) -> Timing:
        """Return a job that ended now."""
        return Timing(self.now, 0.0, 100, 200.0, 50, decode_ms)


@pytest.fixture
def book(tmp_path: Path) -> _Book:
    """An empty one."""
    return _Book(tmp_path)


def test_the_smallest_round_trip_of_ten_minutes_counts(book: _Book) -> None:
    """Then the smallest of those that came after it; the last one stays a hint for a day."""
    for at, rtt_ms in ((1000, 50.0), (1100, 20.0), (1200, 90.0), (1300, 40.0)):
        book.now = at
        book.kept.rtt_measured("n", rtt_ms)
    assert book.kept.rtt_ms("n") == 20
    book.now = 1100 + RTT_WINDOW_S + 1
    assert book.kept.rtt_ms("n") == 40
    book.now = 1300 + RTT_WINDOW_S + 1
    assert book.kept.rtt_ms("n") is None
    assert book.kept.observed("n", MODEL).rtt_ms == 40
    assert book.kept.last_rtt_ms("n") == 40
    book.now = 1300 + KEPT_S + 1
    assert book.kept.observed("n", MODEL) == NOTHING_OBSERVED


def test_round_trips_by_the_region_that_nodes_claim(book: _Book) -> None:
    """One a node, also in the next run; those of nodes behind a relay count for no region."""
    for node, rtt_ms, region in (("a", 20.0, Region.ASIA), ("b", 30.0, Region.ASIA), ("c", 9.0, Region.EUROPE)):
        book.kept.rtt_measured(node, rtt_ms + 1, region)
        book.kept.rtt_measured(node, rtt_ms, region)
    book.kept.rtt_measured("relayed", 1.0, None)
    book.kept.save()
    assert book.kept.rtts_ms() == book.reopened().rtts_ms() == {Region.ASIA: [20, 30], Region.EUROPE: [9]}
    book.now += RTT_WINDOW_S + 1
    book.kept.rtt_measured("a", 25.0, Region.AFRICA)
    assert book.kept.rtts_ms() == {Region.AFRICA: [25]}
    assert book.kept.last_rtts_ms() == {Region.ASIA: [30], Region.EUROPE: [9], Region.AFRICA: [25]}


def test_the_next_run_knows_what_this_one_measured(book: _Book) -> None:
    """Round trips, speeds and failures, each of its model; the file is private."""
    book.kept.rtt_measured("n", 20.0)
    book.kept.job_done("n", MODEL, book.timing())
    book.kept.job_failed("n", "other")
    book.kept.save()
    again = book.reopened()
    assert again.rtt_ms("n") == 20
    assert again.observed("n", MODEL).output_units_per_s == 50
    assert again.observed("n", MODEL).failure_share == 0
    assert again.observed("n", "other").failure_share == 0.5
    assert again.observed("x", MODEL) == NOTHING_OBSERVED
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600


def test_the_file_is_not_written_at_every_probe(book: _Book) -> None:
    """At most every half minute, and when asked to."""
    book.kept.rtt_measured("n", 20.0)
    book.kept.rtt_measured("n", 10.0)
    assert book.reopened().rtt_ms("n") == 20
    book.now += SAVE_INTERVAL_S
    book.kept.rtt_measured("n", 15.0)
    assert book.reopened().rtt_ms("n") == 10


def test_old_jobs_and_old_nodes_give_way(book: _Book) -> None:
    """The last 16 jobs of the nodes that were measured last."""
    for _ in range(MAX_JOBS):
        book.kept.job_done("n", MODEL, book.timing(decode_ms=9000))
    for _ in range(MAX_JOBS):
        book.kept.job_done("n", MODEL, book.timing(decode_ms=1000))
    assert book.kept.observed("n", MODEL).output_units_per_s == 50
    for number in range(MAX_NODES):
        book.kept.rtt_measured(str(number), 1.0)
    assert book.kept.observed("n", MODEL) == NOTHING_OBSERVED


def test_jobs_are_forgotten_after_an_hour(book: _Book) -> None:
    """A node that was slow, or failed, gets another chance."""
    book.kept.job_done("n", MODEL, book.timing())
    book.kept.job_failed("n", MODEL)
    book.now += JOBS_KEPT_S
    assert book.kept.observed("n", MODEL).failure_share > 0
    book.now += SUMMARY_S
    assert book.kept.observed("n", MODEL) == NOTHING_OBSERVED


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"n": 3}',
        '{"n": {"rtts": [[1, -5]], "services": {}}}',
        '{"n": {"region": "mars", "rtts": [[1, 1]], "services": {}}}',
        '{"n": {"rtts": [[1, 1e400]], "services": {}}}',
        '{"n": {"rtts": [], "services": {"m": {"timings": [[1, 0]], "outcomes": []}}}}',
        f'{{"n": {{"rtts": [[-{HUGE}, 1]], "services": {{}}}}}}',
        f'{{"n": {{"rtts": [[1, {HUGE}]], "services": {{}}}}}}',
        f'{{"n": {{"rtts": [], "services": {{"m": {{"timings": [[1, 0, {HUGE}, 1, 99, 1]], "outcomes": []}}}}}}}}',
        '{"n": {"rtts": [], "services": {"m": {"timings": [[1, 1e308, 9, 9, 99, 9], [1, 0, 9, 9, 99, 9]], '
        '"outcomes": []}}}}',
        f'{{"n": {{"rtts": [], "services": {{"m": {{"timings": [], "outcomes": [[-{HUGE}, true]]}}}}}}}}',
    ],
)
def test_a_damaged_file_counts_as_absent(book: _Book, content: str) -> None:
    """Entry by entry; others are kept."""
    book.path.write_text(content, encoding="utf-8")
    assert book.reopened().observed("n", MODEL) == NOTHING_OBSERVED


def test_what_lies_in_the_future_is_left_out(book: _Book) -> None:
    """The clock was set back; such measurements would never grow old."""
    book.kept.rtt_measured("n", 20.0)
    book.kept.job_done("n", MODEL, book.timing())
    book.kept.save()
    book.now -= 1
    assert book.reopened().observed("n", MODEL) == NOTHING_OBSERVED
    assert list(json.loads(book.path.read_text("utf-8"))) == ["n"]


def test_a_folder_that_cannot_be_written_is_no_failure(book: _Book, caplog: pytest.LogCaptureFixture) -> None:
    """The job has been done all the same."""
    book.path.mkdir()
    with caplog.at_level(logging.WARNING):
        book.kept.rtt_measured("n", 20.0)
    assert book.kept.rtt_ms("n") == 20
    assert "cannot be kept" in caplog.text


def test_a_lie_is_held_against_a_node_for_a_day(book: _Book) -> None:
    """Also by the next run, and of no other node; no good job makes up for it."""
    book.kept.lied("liar", "bad_digest")
    book.kept.job_done("liar", MODEL, book.timing())
    book.now += LIES_KEPT_S - 1
    for measurements in (book.kept, book.reopened()):
        assert (
            measurements.held_against("liar") == "sent an answer that does not verify (bad_digest), less than a day ago"
        )
        assert measurements.held_against("other") is None
    book.now += 1
    for measurements in (book.kept, book.reopened()):
        assert measurements.held_against("liar") is None


def test_a_lie_is_not_forgotten_for_others_that_were_measured(book: _Book) -> None:
    """However many."""
    book.kept.lied("liar", "bad_usage")
    for number in range(MAX_NODES + 1):
        book.kept.rtt_measured(str(number), 1.0)
    assert book.kept.held_against("liar") is not None
    assert [book.kept.rtt_ms(node) for node in ("0", "1", "2")] == [None, None, 1.0]


def test_when_all_have_lied_the_oldest_gives_way(book: _Book) -> None:
    """The file stays small."""
    for number in range(MAX_NODES + 1):
        book.kept.lied(str(number), "bad_usage")
    assert [book.kept.held_against(node) is None for node in ("0", "1", str(MAX_NODES))] == [True, False, False]


@pytest.mark.parametrize("lie", ['[1e12, "bad_usage"]', '[1, "no such fault"]'], ids=["of the future", "unknown"])
def test_a_lie_that_cannot_be_is_left_out(book: _Book, lie: str) -> None:
    """The rest of the node's entry counts."""
    book.path.write_text(f'{{"n": {{"region": null, "rtts": [[1000, 5]], "services": {{}}, "lie": {lie}}}}}')
    kept = book.reopened()
    assert (kept.held_against("n"), kept.rtt_ms("n")) == (None, 5)
