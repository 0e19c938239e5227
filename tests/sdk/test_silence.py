from types import SimpleNamespace
from typing import Any, cast

import pytest
from gpunode._silence import KNOCK_INTERVAL_S, MAX_SILENCE_S, MIN_SILENCE_S, QUEUED_SILENCE_S, Silence
from gpunode_protocol.client_job import ClientJob


def _job(**state: Any) -> ClientJob:
    """Return what ``Silence`` looks at of a job whose stream was opened at 100 s."""
    fields = {"opened_at": 100.0, "first_output_at": None, "is_queued": False, "is_over": False, "cancelled": False}
    return cast("ClientJob", SimpleNamespace(**fields | state))


def _after_gaps(gap_s: float, count: int = 20) -> tuple[Silence, float]:
    """Return the silence after so many frames of output, and when the last one came."""
    now = 101.0
    silence = Silence(_job(first_output_at=now))
    silence.heard(now)
    for _ in range(count):
        now += gap_s
        silence.heard(now)
    return silence, now


def test_before_the_first_output_a_second_is_waited() -> None:
    """Reading a prompt takes time, and pings come every two seconds."""
    silence = Silence(_job())
    assert silence.next_knock_at() == 100.0 + MAX_SILENCE_S
    silence.heard(100.5)
    assert silence.next_knock_at() == 100.5 + MAX_SILENCE_S


def test_a_job_in_the_queue_waits_for_its_ping() -> None:
    """Many jobs may wait at a node."""
    assert Silence(_job(is_queued=True)).next_knock_at() == 100.0 + QUEUED_SILENCE_S


@pytest.mark.parametrize(
    ("gap_s", "silence_s"), [(0.01, MIN_SILENCE_S), (0.1, pytest.approx(0.4, abs=0.01)), (5.0, MAX_SILENCE_S)]
)
def test_after_it_the_usual_gap_decides(gap_s: float, silence_s: float) -> None:
    """Four times as long is no gap any more, within limits."""
    silence, now = _after_gaps(gap_s)
    at = silence.next_knock_at()
    assert at is not None
    assert at - now == pytest.approx(silence_s)


def test_the_first_token_was_no_gap() -> None:
    """How long the prompt was read says nothing of the tokens."""
    silence = Silence(_job(first_output_at=130.0))
    silence.heard(130.0)
    assert silence.next_knock_at() == 130.0 + MIN_SILENCE_S


def test_the_next_knock_comes_a_second_later() -> None:
    """However short the usual gap is, and whatever was heard between."""
    silence, now = _after_gaps(0.01)
    silence.knocked(now + 0.2)
    assert silence.next_knock_at() == now + 0.2 + KNOCK_INTERVAL_S
    silence.heard(now + 0.3)
    assert silence.next_knock_at() == now + 0.2 + KNOCK_INTERVAL_S


@pytest.mark.parametrize("state", ["is_over", "cancelled"])
def test_nobody_knocks_for_a_job_that_is_not_wanted(state: str) -> None:
    """There is nothing to be moved to another node."""
    assert Silence(_job(**{state: True})).next_knock_at() is None
