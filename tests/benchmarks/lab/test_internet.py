import random
import socket

import pytest
from gpunode_benchmarks.lab import internet
from gpunode_benchmarks.lab.internet import Internet
from gpunode_benchmarks.lab.world import World

from tests.benchmarks.lab.conftest import SMALL_WORLD


def _packet(source: str, target: str, mark: bytes = b"", *, version: int = 4) -> bytes:
    addresses = (SMALL_WORLD.address_of(host) if host in SMALL_WORLD.hosts else host for host in (source, target))
    return bytes([version << 4]) + bytes(11) + b"".join(map(socket.inet_aton, addresses)) + mark


def _world(**changes: float) -> World:
    return World.model_validate(SMALL_WORLD.model_dump() | changes)


def _internet(world: World = SMALL_WORLD) -> Internet:
    return Internet(world, random.Random(1))


def test_a_packet_arrives_after_half_the_round_trip() -> None:
    """Not before, and at the right host."""
    net = _internet()
    packet = _packet("london-1", "tokyo-1")
    net.send("london-1", packet, 10.0)
    assert net.next_due_at == pytest.approx(10.060)
    assert list(net.deliver(10.0599)) == []
    assert list(net.deliver(10.0601)) == [("tokyo-1", packet)]
    assert net.next_due_at is None


def test_near_packets_overtake_far_ones() -> None:
    """Each pair of hosts has its own delay."""
    net = _internet()
    net.send("london-1", _packet("london-1", "tokyo-1"), 0.0)
    net.send("london-1", _packet("london-1", "london-2"), 0.001)
    assert [host for host, _ in net.deliver(1.0)] == ["london-2", "tokyo-1"]


def test_jitter_delays_within_its_bounds_and_keeps_the_order() -> None:
    """Packets of one direction do not overtake each other, and none is faster than the world's delay."""
    net = _internet(_world(jitter_ms=40))
    arrivals = []
    for number in range(200):
        sent_at = number * 0.001
        net.send("london-1", _packet("london-1", "tokyo-1", bytes([number])), sent_at)
    while net.next_due_at is not None:
        now = net.next_due_at
        arrivals += [(packet[-1], now) for _, packet in net.deliver(now)]
    assert [number for number, _ in arrivals] == list(range(200))
    taken = [at - number * 0.001 for number, at in arrivals]
    assert min(taken) >= 0.060 - 1e-9
    assert max(taken) <= 0.080 + 1e-9
    assert max(taken) - min(taken) > 0.010


def test_losses_are_as_many_as_the_world_says() -> None:
    """A fixed seed makes them the same in every run."""
    net = _internet(_world(loss=0.1))
    for _ in range(2_000):
        net.send("london-1", _packet("london-1", "tokyo-1"), 0.0)
    assert net.traffic.lost == pytest.approx(200, abs=40)
    assert len(list(net.deliver(1.0))) == 2_000 - net.traffic.lost


def test_a_cut_link_loses_both_directions_and_what_is_underway() -> None:
    """Other links of the same hosts go on."""
    net = _internet()
    net.send("london-1", _packet("london-1", "tokyo-1"), 0.0)
    net.set_cut("tokyo-1", "london-1", is_cut=True)
    net.send("tokyo-1", _packet("tokyo-1", "london-1"), 0.0)
    net.send("tokyo-1", _packet("tokyo-1", "london-2"), 0.0)
    assert [host for host, _ in net.deliver(1.0)] == ["london-2"]
    assert net.traffic.cut == 2


def test_a_mended_link_carries_again() -> None:
    """What was sent before is gone."""
    net = _internet()
    net.set_cut("london-1", "tokyo-1", is_cut=True)
    net.send("london-1", _packet("london-1", "tokyo-1"), 0.0)
    net.set_cut("london-1", "tokyo-1", is_cut=False)
    net.send("london-1", _packet("london-1", "tokyo-1", b"after"), 0.0)
    assert [packet[-5:] for _, packet in net.deliver(1.0)] == [b"after"]


@pytest.mark.parametrize(
    "packet",
    [
        _packet("london-1", "11.9.9.9"),
        _packet("london-1", "8.8.8.8"),
        _packet("london-1", "127.0.0.1"),
        _packet("tokyo-1", "london-2"),
        _packet("london-1", "tokyo-1", version=6),
        b"E",
    ],
    ids=["no such host", "outside", "loopback", "false sender", "no IPv4", "too short"],
)
def test_what_has_no_place_in_the_lab_is_dropped(packet: bytes) -> None:
    """Nothing leaves it, and no host speaks for another."""
    net = _internet()
    net.send("london-1", packet, 0.0)
    assert (net.next_due_at, net.traffic.dropped) == (None, 1)


def test_a_flood_is_dropped_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router's queue has an end."""
    monkeypatch.setattr(internet, "MOST_UNDERWAY", 10)
    net = _internet()
    for _ in range(15):
        net.send("london-1", _packet("london-1", "tokyo-1"), 0.0)
    assert net.traffic.dropped == 5
    assert len(list(net.deliver(1.0))) == 10


def test_late_deliveries_are_counted() -> None:
    """A bench sees whether the lab kept its promise."""
    net = _internet()
    for sent_at in (0.0, 0.010):
        net.send("london-1", _packet("london-1", "tokyo-1"), sent_at)
    assert len(list(net.deliver(0.071))) == 2
    assert (net.traffic.delivered, net.traffic.delivered_bytes, net.traffic.late) == (2, 40, 1)
    assert net.traffic.worst_late_s == pytest.approx(0.011)
