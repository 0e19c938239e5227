"""A small lab that all its tests share, where the machine allows one."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from gpunode_benchmarks.lab.errors import LabUnavailable
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.lab_network import PRELOAD, LabNetwork
from gpunode_benchmarks.lab.world import World, find_world, load_world
from gpunode_benchmarks.overhead_engines import paced_model

from tests.needs import lacking

PROBES = "gpunode_benchmarks.lab.probes"
HOSTS = "tests.benchmarks.lab.on_hosts"

MODEL = paced_model(20)
PACED = ["tokyo-1", "frankfurt-1"]
LIGHT = "sao-paulo-1"

#: Without jitter and loss, so that every round trip can be compared.
SMALL_WORLD = World.model_validate(
    {
        "about": "three hosts for tests",
        "local_rtt_ms": 2,
        "places": {
            "london": {"region": "europe", "country": "GB", "latitude": 52, "longitude": 0},
            "tokyo": {"region": "asia", "country": "JP", "latitude": 36, "longitude": 140},
        },
        "hosts": {"london-1": {"place": "london"}, "london-2": {"place": "london"}, "tokyo-1": {"place": "tokyo"}},
        "rtt_ms": {"london": {"tokyo": 120}},
    }
)


#: Files that start a lab of their own, beside those that ask for the fixtures.
_START_LABS = frozenset({"test_commands.py", "test_lab_folders.py", "test_lab_process.py", "test_main.py"})
_LABS = frozenset({"network", "shared_lab", "start_lab"})
_IN_SHORT = frozenset(
    {
        "test_a_killed_host_refuses_connections_and_can_be_used_again",
        "test_a_lab_stays_up_between_commands",
        "test_a_slowed_host_has_a_share_of_the_processor",
        "test_a_stopped_host_is_silent_until_it_is_resumed",
        "test_there_is_no_way_out",
    }
)
"""Few packets, a second each."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Running labs are for ``make test-full``: their forwarder has a real-time priority, which others feel."""
    if getattr(item, "originalname", "") in _IN_SHORT:
        return
    if item.path.name in _START_LABS or _LABS.intersection(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.full)


def start_or_skip(name: str, world: World, *, preload: tuple[str, ...] = ()) -> Lab:
    """Start a lab; skip the test, and say why, where there can be none."""
    try:
        return Lab.start(name, world, preload=preload)
    except LabUnavailable as error:
        lacking("lab", str(error))


StartLab = Callable[[str], Lab]


@pytest.fixture
def start_lab() -> Iterator[StartLab]:
    """Return a function that starts the small world under another name; what it started ends with the test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(start_or_skip(name, SMALL_WORLD))


@pytest.fixture(scope="package")
def shared_lab() -> Iterator[Lab]:
    """The small world, running."""
    with start_or_skip("small", SMALL_WORLD, preload=(PROBES, HOSTS)) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """The small world with all links whole and no program running."""
    yield shared_lab
    for host in shared_lab.world.hosts:
        shared_lab.resume(host)
        shared_lab.kill(host)
        shared_lab.mend(host)


@pytest.fixture
def echoes(lab: Lab) -> Iterator[dict[str, str]]:
    """Echoes on all hosts but the first; their addresses by host."""
    others = list(lab.world.hosts)[1:]
    programs = [lab.begin(host, f"{PROBES}:serve_echo") for host in others]
    yield {host: lab.world.address_of(host) for host in others}
    for program in programs:
        program.close()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A named pipe: reading it waits until a program on a host has opened and closed it."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture(scope="package")
def network(smollm2_path: Path) -> Iterator[LabNetwork]:  # noqa: ARG001 -- a paced engine takes the real one's plan
    """A tracker in Virginia, nodes in Tokyo and Frankfurt, a light one in São Paulo."""
    lab = start_or_skip("clouds", load_world(find_world("clouds")), preload=(*PRELOAD, HOSTS))
    with lab, LabNetwork(lab, "virginia-1") as running:
        running.start_nodes(PACED, MODEL)
        running.start_light_nodes([LIGHT])
        yield running
