from gpunode_protocol.mesh.rate_limit import PeerBench, PeerRateLimit


def test_burst_then_rate() -> None:
    """A peer may spend its burst at once and then as much as flows back."""
    limit = PeerRateLimit(rate_per_s=2, burst=3)
    assert [limit.allow("peer", 0.0) for _ in range(4)] == [True, True, True, False]
    assert [limit.allow("peer", 0.5), limit.allow("peer", 0.5)] == [True, False]


def test_refused_units_are_not_taken() -> None:
    """Asking for too much costs nothing."""
    limit = PeerRateLimit(rate_per_s=1, burst=10)
    assert not limit.allow("peer", 0.0, units=11)
    assert limit.allow("peer", 0.0, units=10)


def test_peers_do_not_share() -> None:
    """One peer's flood does not silence another."""
    limit = PeerRateLimit(rate_per_s=1, burst=1)
    assert limit.allow("a", 0.0)
    assert limit.allow("b", 0.0)


def test_memory_is_bounded() -> None:
    """The peer not seen for longest is forgotten."""
    limit = PeerRateLimit(rate_per_s=0.001, burst=1, max_peers=2)
    for peer in ("a", "b", "c"):
        assert limit.allow(peer, 0.0)
    assert not limit.allow("c", 0.0)
    assert limit.allow("a", 0.0)


def test_bench_doubles_up_to_its_cap() -> None:
    """15 s after the first failure, doubling, 5 min at most."""
    bench = PeerBench()
    durations = []
    for _ in range(7):
        bench.failed("peer", 0.0)
        durations.append(next(second for second in range(1_000) if not bench.is_benched("peer", second)))
    assert durations == [15, 30, 60, 120, 240, 300, 300]


def test_answer_ends_the_bench() -> None:
    """A peer that answers counts as good at once."""
    bench = PeerBench()
    bench.failed("peer", 0.0)
    bench.succeeded("peer")
    assert not bench.is_benched("peer", 1.0)
    bench.failed("peer", 1.0)
    assert not bench.is_benched("peer", 16.0)


def test_bench_is_bounded() -> None:
    """Invented peers do not fill the memory."""
    bench = PeerBench(max_peers=2)
    for peer in ("a", "b", "c"):
        bench.failed(peer, 0.0)
    assert [bench.is_benched(peer, 1.0) for peer in ("a", "b", "c")] == [False, True, True]


def test_what_was_used_already_is_paid_by_waiting() -> None:
    """Spending never refuses: it says how long to wait until the debt is paid."""
    limit = PeerRateLimit(rate_per_s=2, burst=4)
    assert limit.spend("peer", 0.0, 4) == 0.0
    assert limit.spend("peer", 0.0, 3) == 1.5
    assert limit.spend("peer", 1.5, 1) == 0.5
    assert not limit.allow("peer", 1.5)
