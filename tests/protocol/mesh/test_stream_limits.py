"""How many incoming streams may be open."""

import pytest
from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh.stream_limits import CUTS_BURST, StreamLimits, Verdict

ALICE, BOB, CAROL = PeerId("alice"), PeerId("bob"), PeerId("carol")


class Clock:
    """Monotonic seconds that a test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the moment."""
        return self.now_s


@pytest.mark.parametrize("limit", ["max_per_peer", "max_per_address", "max_in_all"])
def test_a_limit_and_room_again(limit: str) -> None:
    """What is beyond a limit is cut; a stream that ends makes room."""
    limits = StreamLimits(Clock(), **{limit: 2})
    assert [limits.enter(ALICE, "home") for _ in range(3)] == [Verdict.SERVE, Verdict.SERVE, Verdict.CUT]
    limits.leave(ALICE, "home")
    assert limits.enter(ALICE, "home") is Verdict.SERVE


def test_what_each_limit_counts() -> None:
    """Peers of one address share its limit; everybody shares the last one."""
    limits = StreamLimits(Clock(), max_per_peer=1, max_per_address=2, max_in_all=3)
    assert [limits.enter(peer, "home") for peer in (ALICE, ALICE, BOB, CAROL)] == [
        Verdict.SERVE,
        Verdict.CUT,
        Verdict.SERVE,
        Verdict.CUT,
    ]
    assert [limits.enter(CAROL, "office"), limits.enter(PeerId("dave"), "ship")] == [Verdict.SERVE, Verdict.CUT]
    assert limits.busy_peers == {ALICE, BOB, CAROL}


def test_a_flooder_sits_out() -> None:
    """It is disconnected, and once a second again while it is benched; others are served meanwhile."""
    clock = Clock()
    limits = StreamLimits(clock, max_per_peer=0)
    assert {limits.enter(ALICE, "home") for _ in range(int(CUTS_BURST))} == {Verdict.CUT}
    assert [limits.enter(ALICE, "home") for _ in range(3)] == [Verdict.DISCONNECT, Verdict.CUT, Verdict.CUT]
    clock.now_s = 1.5
    assert [limits.enter(ALICE, "home") for _ in range(2)] == [Verdict.DISCONNECT, Verdict.CUT]
    assert limits.enter(BOB, "home") is Verdict.CUT
    clock.now_s = 16.0
    assert limits.enter(ALICE, "home") is Verdict.CUT


def test_nothing_is_remembered_of_ended_streams() -> None:
    """The counts do not grow with the peers that came."""
    limits = StreamLimits(Clock())
    for number in range(100):
        peer = PeerId(f"peer-{number}")
        assert limits.enter(peer, f"home-{number}") is Verdict.SERVE
        limits.leave(peer, f"home-{number}")
    assert not limits.busy_peers
    assert not limits._of_origin
