"""How long a client waits before it gives a node up."""

import pytest
from gpunode_protocol.errors import ErrorCode
from gpunode_protocol.patience import ASSUMED_UNITS_PER_S, JobClock, Patience, patience_for
from gpunode_protocol.tasks import Task

PATIENCE = Patience(
    liveness_s=5, accept_s=3, first_output_s=4, queue_s=60, cancel_s=8, min_units_per_s=10, progress_window_s=10
)


def _patience(predicted_s: float, *, task: Task = Task.LLM, advertised_units_per_s: float = 40.0) -> Patience:
    return patience_for(task=task, predicted_first_output_s=predicted_s, advertised_units_per_s=advertised_units_per_s)


class Clock:
    """A job's clock that is told every second that the node lives."""

    def __init__(self) -> None:
        self.clock = JobClock(PATIENCE, opened_at=0.0)

    def lasts_until(self, limit_s: int, work: int = 0) -> tuple[int, str]:
        """Return the second at which the node is given up, and why; ``limit_s`` and nothing when it is not."""
        for now in range(int(self.clock.heard_at), limit_s):
            self.clock.heard(now)
            error = self.clock.problem(now, work)
            if error is not None:
                return now, error.message
            assert self.clock.next_at() > now
        return limit_s, ""


@pytest.mark.parametrize(
    ("predicted_s", "first_s"), [(0.0, 2.0), (0.4, 2.0), (0.5, 2.0), (2.0, 8.0), (7.5, 30.0), (100.0, 30.0)]
)
def test_first_output_deadline(predicted_s: float, first_s: float) -> None:
    """Four times the prediction, at least 2 s, at most 30 s."""
    assert _patience(predicted_s).first_output_s == first_s


@pytest.mark.parametrize(("predicted_s", "accept_s"), [(0.0, 5.0), (1.0, 5.0), (2.0, 8.0), (100.0, 30.0)])
def test_accept_deadline(predicted_s: float, accept_s: float) -> None:
    """As long as for the first output, at least 5 s: a long prompt is rendered and counted first."""
    assert _patience(predicted_s).accept_s == accept_s


def test_speed_demand() -> None:
    """A quarter of the advertised speed is demanded."""
    assert _patience(1.0).min_units_per_s == 10.0


def test_who_states_little_is_held_to_it() -> None:
    """Also where that is less than what is assumed of those that state nothing."""
    assert _patience(1.0, advertised_units_per_s=0.4).min_units_per_s == 0.1


@pytest.mark.parametrize("task", list(Task))
def test_a_node_that_states_no_speed_is_not_waited_for_without_end(task: Task) -> None:
    """It is held to the slowest speed that is worth waiting for; an embedding has no units of which to demand some."""
    demanded = _patience(1.0, task=task, advertised_units_per_s=0.0).min_units_per_s
    assert demanded == ASSUMED_UNITS_PER_S.get(task, 0.0) / 4
    assert (demanded > 0) == (task is not Task.EMBEDDING)


def test_a_token_every_4_9_s_is_too_slow_for_any_node() -> None:
    """Each comes before the 5 s of silence are over; the first window of 10 s ends it all the same."""
    clock = JobClock(_patience(1.0, advertised_units_per_s=0.0), opened_at=0.0)
    clock.accepted(0.0, position=0)
    clock.output(0.0, 1)
    for tokens, now in ((2, 4.9), (3, 9.8)):
        clock.heard(now)
        assert clock.problem(now, tokens) is None
    assert clock.next_at() == 10.0
    error = clock.problem(10.0, 3)
    assert error is not None
    assert "far slower" in error.message


def test_silence() -> None:
    """A node from which nothing comes for 5 s is given up, another may be tried."""
    clock = JobClock(PATIENCE, opened_at=0.0)
    clock.accepted(1.0, position=1)
    clock.heard(2.0)
    assert clock.next_at() == 7.0
    assert clock.problem(6.9, 0) is None
    error = clock.problem(7.0, 0)
    assert error is not None
    assert (error.code, error.retryable) == (ErrorCode.INTERNAL, True)


def test_pings_keep_no_job_that_is_not_accepted() -> None:
    """A node that pings but does not accept is given up."""
    assert Clock().lasts_until(100) == (3, "The node did not accept the job within 3 s.")


def test_pings_keep_no_accepted_job() -> None:
    """A node that accepts and then only pings is given up after the first output's time."""
    clock = Clock()
    clock.clock.accepted(3.0, position=0)
    assert clock.lasts_until(100) == (7, "No output came within 4 s.")


def test_queue_has_its_own_time() -> None:
    """In the queue a job waits longer, but not for ever."""
    clock = Clock()
    clock.clock.accepted(3.0, position=2)
    assert clock.lasts_until(100) == (63, "The job waited in the node's queue for 60 s.")


def test_first_output_is_awaited_from_the_queues_head() -> None:
    """The first output's time begins when the job has come to the head of the queue."""
    clock = Clock()
    clock.clock.accepted(0.0, position=2)
    clock.clock.moved(20.0, position=1)
    clock.clock.moved(30.0, position=0)
    assert clock.lasts_until(100) == (34, "No output came within 4 s.")


def test_moving_to_and_fro_gains_no_time() -> None:
    """A node that sends a job back and forth in its queue is given up after queue and first output together."""
    clock = JobClock(PATIENCE, opened_at=0.0)
    clock.accepted(0.0, position=1)
    now = 0
    while clock.problem(now, 0) is None:
        now += 1
        clock.heard(now)
        clock.moved(now, position=1)
        clock.moved(now, position=0)
    assert now == 64


def test_uploads_are_awaited() -> None:
    """While inputs go out, neither queue nor first output are counted; each piece gives another 60 s."""
    clock = Clock()
    clock.clock.accepted(0.0, position=0)
    clock.clock.upload(0.0)
    assert clock.lasts_until(50) == (50, "")
    clock.clock.upload(50.0)
    assert clock.lasts_until(100) == (100, "")
    clock.clock.uploaded(100.0)
    assert clock.lasts_until(200) == (104, "No output came within 4 s.")


def test_stuck_upload() -> None:
    """A node that takes no more input is given up."""
    clock = Clock()
    clock.clock.accepted(0.0, position=0)
    clock.clock.upload(0.0)
    assert clock.lasts_until(200) == (60, "The node took no input for 60 s.")


def test_cancelled_job_ends() -> None:
    """A node that only pings after a cancel is given up, whatever the job's phase."""
    for phase in range(3):
        clock = Clock()
        if phase > 0:
            clock.clock.accepted(0.0, position=0)
        if phase > 1:
            clock.clock.output(0.0, 1)
        clock.clock.heard(2.0)
        clock.clock.cancel()
        assert clock.lasts_until(100) == (10, "The node did not stop within 8 s of the cancel.")


def test_slow_node() -> None:
    """After the first output, a quarter of the advertised speed is demanded in every window of 10 s."""
    clock = Clock()
    clock.clock.accepted(0.0, position=0)
    clock.clock.output(1.0, 5)
    assert clock.clock.next_at() == 5.0
    assert clock.lasts_until(100, work=104) == (
        11,
        "The node is far slower than it advertises or, if it states no speed, than any node should be.",
    )


def test_fast_enough_node() -> None:
    """A node that keeps the demanded speed is kept, each window measured anew."""
    clock = JobClock(PATIENCE, opened_at=0.0)
    clock.accepted(0.0, position=0)
    clock.output(0.0, 0)
    for now in range(1, 41):
        clock.heard(now)
        assert clock.problem(now, 10 * now) is None
    for now in range(41, 51):
        clock.heard(now)
        error = clock.problem(now, 400)
    assert error is not None
    assert error.code is ErrorCode.TIME_LIMIT


def test_no_demand() -> None:
    """Without a demanded speed only silence ends a job that has begun."""
    clock = JobClock(Patience(), opened_at=0.0)
    clock.accepted(0.0, position=0)
    clock.output(0.0, 0)
    for now in range(1, 100):
        clock.heard(now)
        assert clock.problem(now, 0) is None
        assert clock.next_at() == now + 5


def test_pause_of_the_reader_is_not_the_nodes() -> None:
    """After a pause in reading all waiting begins anew."""
    clock = JobClock(PATIENCE, opened_at=0.0)
    clock.accepted(0.0, position=0)
    clock.resume(50.0, 0)
    assert clock.problem(50.0, 0) is None
    clock.output(51.0, 1)
    clock.resume(500.0, 1)
    assert clock.problem(504.0, 1) is None
    clock.cancel()
    clock.resume(600.0, 1)
    assert clock.problem(604.0, 1) is None
    assert clock.next_at() == 605.0
