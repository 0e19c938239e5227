import pytest
from gpunode_benchmarks.lab.lab import Lab

from tests.benchmarks.lab.conftest import PROBES

#: What a shared machine may add to a round trip in the lab.
TOLERANCE_MS = 40


def _fits(measured_ms: float, expected_ms: float) -> bool:
    return expected_ms <= measured_ms <= expected_ms + TOLERANCE_MS


def test_udp_takes_the_worlds_round_trips(lab: Lab, echoes: dict[str, str]) -> None:
    """Delay is what the lab is for; the least of several is compared, because others use the processor too."""
    found = lab.call("london-1", f"{PROBES}:udp_round_trips", targets=echoes, rounds=5)
    assert {len(found[host]) for host in echoes} == {5}
    least = {host: min(found[host]) for host in echoes}
    assert [host for host in echoes if not _fits(least[host], lab.world.round_trip_ms("london-1", host))] == []


def test_tcp_connects_in_one_round_trip_and_echoes_in_another(lab: Lab, echoes: dict[str, str]) -> None:
    """The kernel of each host does its part of TCP in its own namespace."""
    found = lab.call("london-1", f"{PROBES}:tcp_round_trips", address=echoes["tokyo-1"], rounds=4)
    expected_ms = lab.world.round_trip_ms("london-1", "tokyo-1")
    assert _fits(found["connect"], expected_ms)
    assert _fits(min(found["echoes"]), expected_ms)


@pytest.mark.parametrize("target", ["london-2", "tokyo-1"])
def test_a_path_carries_fifty_megabits(lab: Lab, echoes: dict[str, str], target: str) -> None:
    """Near and far: the far one needs TCP's large windows too."""
    assert lab.call("london-1", f"{PROBES}:tcp_megabits", address=echoes[target], seconds=3.0) >= 50
