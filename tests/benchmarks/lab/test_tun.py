import sys

import pytest
from gpunode_benchmarks.lab.lab import Lab

PATIENCE_S = 30.0


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"), ("/proc/net/if_inet6", "")],
)
def test_hosts_have_no_ipv6(lab: Lab, path: str, expected: str) -> None:
    """The forwarder carries IPv4 only."""
    code = f"import pathlib; path = pathlib.Path({path!r}); print(path.read_text() if path.exists() else {expected!r})"
    with lab.launch("london-1", [sys.executable, "-c", code]) as program:
        assert program.wait(PATIENCE_S) == 0
        assert program.log.read_text().strip() == expected


def test_the_only_route_is_the_labs_network(lab: Lab) -> None:
    """By the device; the address is the world's."""
    code = (
        "import pathlib, socket\n"
        "print([line.split()[:3] for line in pathlib.Path('/proc/net/route').read_text().splitlines()[1:]])\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:\n"
        "    udp.connect(('11.255.0.1', 9)); print(udp.getsockname()[0])\n"
    )
    with lab.launch("london-2", [sys.executable, "-c", code]) as program:
        assert program.wait(PATIENCE_S) == 0
        routes, address = program.log.read_text().splitlines()
    assert routes == "[['lab0', '0000000B', '00000000']]"
    assert address == lab.world.address_of("london-2")
