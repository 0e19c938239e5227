"""A host's network: a namespace with its loopback and one TUN device (``man 7 netdevice``, Linux's tuntap.rst)."""

import fcntl
import os
import socket
import struct
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpunode_benchmarks.lab.kernel import CLONE_NEWNET, unshare
from gpunode_benchmarks.lab.world import NETWORK

DEVICE: Final = "lab0"
MTU_BYTES: Final = 1_500
TUN_PATH: Final = Path("/dev/net/tun")

_QUEUE_PACKETS: Final = 2_000
"""What a host may send before the forwarder reads: 20 ms of a fast sender; the default of 500 loses bursts."""

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_IFF_UP: Final = 0x1
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFADDR: Final = 0x8916
_SIOCSIFNETMASK: Final = 0x891C
_SIOCSIFMTU: Final = 0x8922
_SIOCSIFTXQLEN: Final = 0x8943
_NAMED_ADDRESS: Final = "16sHH4s8x"
_NAMED_NUMBER: Final = "16si20x"
_NAMED_FLAGS: Final = "16sH22x"


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """namespace, device: open descriptors; the network lasts as long as they or a process in it."""

    namespace: int
    device: int


def make_network(address: str) -> HostNetwork:
    """Move this process into a new network namespace and set it up; only 11.0.0.0/8 is reachable, by the device.

    Raises:
        OSError: namespaces or TUN devices are missing here, or forbidden.
    """
    unshare(CLONE_NEWNET)
    device = os.open(TUN_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # it belongs to the namespace of its opener
    fcntl.ioctl(device, _TUNSETIFF, struct.pack(_NAMED_FLAGS, DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    _disable_ipv6()
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as handle:
        _set_up(handle, "lo")
        _set_address(handle, _SIOCSIFADDR, address)
        _set_address(handle, _SIOCSIFNETMASK, str(NETWORK.netmask))
        for call, number in ((_SIOCSIFMTU, MTU_BYTES), (_SIOCSIFTXQLEN, _QUEUE_PACKETS)):
            fcntl.ioctl(handle, call, struct.pack(_NAMED_NUMBER, DEVICE.encode(), number))
        _set_up(handle, DEVICE)
    return HostNetwork(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC), device)


def _disable_ipv6() -> None:
    """The lab's internet is IPv4 only; where the kernel has no IPv6, there is nothing to do."""
    setting = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    if setting.exists():
        setting.write_text("1", encoding="ascii")


def _set_address(handle: socket.socket, call: int, address: str) -> None:
    request = struct.pack(_NAMED_ADDRESS, DEVICE.encode(), socket.AF_INET, 0, socket.inet_aton(address))
    fcntl.ioctl(handle, call, request)


def _set_up(handle: socket.socket, device: str) -> None:
    before = fcntl.ioctl(handle, _SIOCGIFFLAGS, struct.pack(_NAMED_FLAGS, device.encode(), 0))
    flags = struct.unpack(_NAMED_FLAGS, before)[1]
    fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack(_NAMED_FLAGS, device.encode(), flags | _IFF_UP))
