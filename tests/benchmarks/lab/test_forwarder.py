import os
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from gpunode_benchmarks.lab.forwarder import Forwarder
from gpunode_benchmarks.lab.messages import message_pair, receive_message, send_message

from tests.benchmarks.lab.conftest import SMALL_WORLD

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Wires:
    """The hosts' ends of what are TUN devices in a lab, and the lab's end of the orders."""

    hosts: dict[str, socket.socket]
    orders: socket.socket

    def order(self, **message: object) -> dict[str, object]:
        """Give an order and return the answer."""
        send_message(self.orders, message)
        answer = receive_message(self.orders)
        assert answer is not None
        return answer[0]


@pytest.fixture
def wires() -> Iterator[Wires]:
    """A forwarder in a thread, with sockets for devices: they keep the borders of packets, too."""
    pairs = {host: message_pair() for host in SMALL_WORLD.hosts}
    for ours, theirs in pairs.values():
        ours.settimeout(PATIENCE_S)
        theirs.setblocking(False)
    ours, theirs = message_pair()
    devices = {host: pair[1].fileno() for host, pair in pairs.items()}
    thread = threading.Thread(target=Forwarder(SMALL_WORLD, devices, theirs).run)
    thread.start()
    yield Wires({host: pair[0] for host, pair in pairs.items()}, ours)
    ours.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    for each in (theirs, *(end for pair in pairs.values() for end in pair)):
        each.close()


def _packet(source: str, target: str, content: bytes) -> bytes:
    addresses = b"".join(socket.inet_aton(SMALL_WORLD.address_of(host)) for host in (source, target))
    return b"\x45" + bytes(11) + addresses + content


def test_packets_reach_their_host_unchanged(wires: Wires) -> None:
    """In their order."""
    packets = [_packet("london-1", "london-2", random.Random(number).randbytes(1_000)) for number in range(20)]
    for packet in packets:
        wires.hosts["london-1"].send(packet)
    assert [wires.hosts["london-2"].recv(2_000) for _ in packets] == packets


def test_a_cut_is_in_effect_when_it_is_answered(wires: Wires) -> None:
    """So is a mend; the counts say what became of each packet."""
    first, second = _packet("london-1", "london-2", b"1"), _packet("london-1", "london-2", b"2")
    assert wires.order(do="cut", links=[["london-1", "london-2"]]) == {}
    wires.hosts["london-1"].send(first)
    while wires.order(do="traffic")["cut"] == 0:
        os.sched_yield()
    assert wires.order(do="mend", links=[["london-2", "london-1"]]) == {}
    wires.hosts["london-1"].send(second)
    assert wires.hosts["london-2"].recv(2_000) == second
    assert wires.order(do="traffic")["delivered"] == 1


def test_a_host_that_takes_nothing_loses_its_packets_only(wires: Wires) -> None:
    """The others' traffic goes on."""
    filler = _packet("london-1", "tokyo-1", bytes(1_400))
    for _ in range(1_000):
        wires.hosts["london-1"].send(filler)
    packet = _packet("london-1", "london-2", b"still")
    wires.hosts["london-1"].send(packet)
    assert wires.hosts["london-2"].recv(2_000) == packet
