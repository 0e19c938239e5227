"""The forwarder: a process that reads the hosts' TUN devices, keeps each packet as long as the world says, delivers it.

It runs before all other programs, if the machine allows that: a late forwarder would be a slower internet.
"""

import contextlib
import errno
import gc
import os
import random
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final, NoReturn

from gpunode_benchmarks.lab.internet import Internet
from gpunode_benchmarks.lab.messages import Message, receive_message, send_message
from gpunode_benchmarks.lab.tun import MTU_BYTES
from gpunode_benchmarks.lab.world import World

_AT_ONCE: Final = 32
"""Packets read from one host before others and deliveries have their turn."""
_PRIORITY: Final = 1  # the lowest real-time one: before all ordinary processes, behind the kernel's own


class Forwarder:
    """Moves packets between the devices.

    Args:
        world: the hosts.
        devices: descriptor of each host's TUN device, without blocking.
        orders: who says what is cut; each message is answered.
    """

    def __init__(self, world: World, devices: Mapping[str, int], orders: socket.socket) -> None:
        self._internet = Internet(world, random.Random(world.seed))  # noqa: S311 -- losses, no secrets
        self._devices = devices
        self._hosts = {descriptor: host for host, descriptor in devices.items()}
        self._orders = orders
        self._poll = select.epoll()
        for descriptor in (*self._hosts, orders.fileno()):
            self._poll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        """Forward until whoever gives orders is gone."""
        while True:
            self._wait()
            for descriptor, _ in self._poll.poll(0):
                if descriptor in self._hosts:
                    self._read(descriptor)
                elif not self._obey():
                    return
            self._deliver()

    def _wait(self) -> None:
        """Wait for a packet, an order, or the time of the next delivery; epoll alone counts in whole milliseconds."""
        due_at = self._internet.next_due_at
        timeout_s = None if due_at is None else max(0.0, due_at - time.monotonic())
        select.select([self._poll], [], [], timeout_s)

    def _read(self, descriptor: int) -> None:
        host = self._hosts[descriptor]
        with contextlib.suppress(BlockingIOError):
            for _ in range(_AT_ONCE):
                self._internet.send(host, os.read(descriptor, MTU_BYTES), time.monotonic())

    def _deliver(self) -> None:
        for host, packet in self._internet.deliver(time.monotonic()):
            try:
                os.write(self._devices[host], packet)
            except OSError as error:  # the host's kernel takes no more or no such packet, and has lost it
                if error.errno not in {errno.EAGAIN, errno.EINVAL, errno.ENOBUFS, errno.ENOMEM}:
                    raise

    def _obey(self) -> bool:
        received = receive_message(self._orders)
        if received is None:
            return False
        send_message(self._orders, self._answer(received[0]))
        return True

    def _answer(self, order: Message) -> Message:
        if order["do"] == "traffic":
            return asdict(self._internet.traffic)
        for first, second in order["links"]:
            self._internet.set_cut(first, second, is_cut=order["do"] == "cut")
        return {}


def run_forwarder(world: World, devices: Mapping[str, int], orders: socket.socket, *, real_time: bool) -> NoReturn:
    """Be the forwarder; the process ends with the orders, or with exit code 1 when something is wrong with a device.

    real_time: before all other work of the machine. Without it a packet is as late as others make it.
    """
    if real_time:
        with contextlib.suppress(OSError):  # not allowed in some containers
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing here makes cycles, and a collection takes milliseconds
    Forwarder(world, devices, orders).run()
    os._exit(0)
