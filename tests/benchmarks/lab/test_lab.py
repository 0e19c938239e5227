import errno
import signal
import socket
import sys
from pathlib import Path

import pytest
from gpunode_benchmarks.lab.errors import LabFailed
from gpunode_benchmarks.lab.lab import Lab

from tests.benchmarks.lab.conftest import HOSTS, PROBES, SMALL_WORLD, StartLab, start_or_skip

PATIENCE_S = 30.0


def test_a_host_has_a_network_of_its_own(lab: Lab) -> None:
    """Nothing but its loopback and the lab's device, in another namespace than ours."""
    seen = [lab.call(host, f"{HOSTS}:surroundings") for host in lab.world.hosts]
    assert {tuple(one["devices"]) for one in seen} == {("lab0", "lo")}
    assert len({one["network"] for one in seen} | {Path("/proc/self/ns/net").stat().st_ino}) == 1 + len(seen)


@pytest.mark.parametrize("address", ["8.8.8.8", "192.0.2.1", "10.0.0.1"])
def test_there_is_no_way_out(lab: Lab, address: str) -> None:
    """The hosts' kernels have no route to anything but the lab."""
    assert lab.call("london-1", f"{HOSTS}:reach", address=address, port=53) == f"OSError {errno.ENETUNREACH}"


def test_the_machines_loopback_is_not_the_hosts(lab: Lab) -> None:
    """A server of this machine is out of reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert lab.call("london-1", f"{HOSTS}:reach", address="127.0.0.1", port=port).startswith("ConnectionRefused")


def test_the_machines_own_network_stays_as_it_was() -> None:
    """Devices, routes and namespaces are the same before, while and after a lab runs."""

    def network() -> tuple[object, ...]:
        return socket.if_nameindex(), Path("/proc/net/route").read_text(), Path("/proc/self/ns/net").readlink()

    before = network()
    with start_or_skip("untouched", SMALL_WORLD):
        assert network() == before
    assert network() == before


def test_commands_run_on_hosts(lab: Lab) -> None:
    """With the environment that is given, and with their output in a log."""
    command = [sys.executable, "-c", "import os, sys; print(os.environ); sys.exit(5)"]
    with lab.launch("tokyo-1", command, environment={"COLOUR": "blue"}) as program:
        assert program.wait(PATIENCE_S) == 5
        assert "'COLOUR': 'blue'" in program.log.read_text()


def test_a_command_that_does_not_exist(lab: Lab) -> None:
    """It ends as in a shell, and its log says why."""
    with lab.launch("tokyo-1", ["no-such-command"]) as program:
        assert program.wait(PATIENCE_S) == 127
        assert "no-such-command cannot be started" in program.last_words()


def test_a_cut_link_carries_nothing_until_it_is_mended(lab: Lab, echoes: dict[str, str]) -> None:
    """The other host is reached all the while."""

    def answering() -> set[str]:
        found = lab.call("london-1", f"{PROBES}:udp_round_trips", targets=echoes, rounds=1, start_s=1.0)
        return {host for host, round_trips in found.items() if round_trips}

    assert answering() == {"london-2", "tokyo-1"}
    lab.cut("london-1", "tokyo-1")
    assert answering() == {"london-2"}
    lab.mend("london-1", "tokyo-1")
    assert answering() == {"london-2", "tokyo-1"}


def test_a_host_can_be_cut_off(lab: Lab, echoes: dict[str, str]) -> None:
    """All its links at once; those between others are whole."""
    lab.cut("tokyo-1")
    assert lab.call("london-1", f"{HOSTS}:reach", address=echoes["tokyo-1"], port=7007) == "TimeoutError"
    found = lab.call("london-1", f"{PROBES}:tcp_round_trips", address=echoes["london-2"], rounds=1)
    assert len(found["echoes"]) == 1


def test_killing_a_host_ends_all_its_processes(lab: Lab, fifo: Path) -> None:
    """Those too that have left the program's session; other hosts go on."""
    with (
        lab.begin("tokyo-1", f"{HOSTS}:wait_with_family", ready=str(fifo)) as killed,
        lab.begin("london-1", f"{HOSTS}:wait_for_ever") as other,
    ):
        fifo.read_text()
        assert lab.kill("tokyo-1") == 2
        assert killed.wait(PATIENCE_S) == -signal.SIGKILL
        assert other.exit_code is None
        assert lab.kill("tokyo-1") == 0


def test_a_killed_host_refuses_connections_and_can_be_used_again(lab: Lab, echoes: dict[str, str]) -> None:
    """Its kernel lives: that is what a client sees when a process dies."""
    assert lab.call("london-1", f"{PROBES}:tcp_round_trips", address=echoes["tokyo-1"], rounds=1)["echoes"]
    lab.kill("tokyo-1")
    assert lab.call("london-1", f"{HOSTS}:reach", address=echoes["tokyo-1"], port=7007).startswith("ConnectionRefused")
    with lab.begin("tokyo-1", f"{PROBES}:serve_echo"):
        assert lab.call("london-1", f"{PROBES}:tcp_round_trips", address=echoes["tokyo-1"], rounds=1)["echoes"]


def test_a_stopped_host_is_silent_until_it_is_resumed(lab: Lab, echoes: dict[str, str]) -> None:
    """It accepts connections, as its kernel does, and answers nothing."""
    target = {"tokyo-1": echoes["tokyo-1"]}
    assert lab.call("london-1", f"{PROBES}:udp_round_trips", targets=target, rounds=1)["tokyo-1"]
    assert lab.stop("tokyo-1") == 1
    assert lab.call("london-1", f"{HOSTS}:reach", address=echoes["tokyo-1"], port=7007) == "connected"
    with lab.begin("london-1", f"{PROBES}:udp_round_trips", targets=target, rounds=1) as pinging:
        assert pinging.exit_code is None
        lab.resume("tokyo-1")
        assert pinging.value(PATIENCE_S)["tokyo-1"]


def test_a_slowed_host_has_a_share_of_the_processor(lab: Lab) -> None:
    """No program on it runs for longer than that."""
    lab.slow("tokyo-1", 0.2)
    assert lab.call("tokyo-1", f"{HOSTS}:busy_share", wall_s=1.0) < 0.5
    lab.resume("tokyo-1")


@pytest.mark.parametrize("share", [0, 1, -0.5, 2])
def test_a_share_is_a_part(lab: Lab, share: float) -> None:
    """Neither nothing (``stop``) nor all (``resume``)."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        lab.slow("tokyo-1", share)


def test_unknown_hosts_are_refused(lab: Lab) -> None:
    """With the names of those that there are; the lab goes on."""
    for use in (lab.kill, lab.stop, lab.cut, lab.mend, lab.environment_of):
        with pytest.raises(LabFailed, match=r"no host 'oslo-1'.*london-1, london-2, tokyo-1"):
            use("oslo-1")
    with pytest.raises(LabFailed, match="no host 'oslo-1'"):
        lab.cut("london-1", "oslo-1")
    with pytest.raises(LabFailed, match="not from london-1 to itself"):
        lab.cut("london-1", "london-1")
    assert lab.call("london-1", f"{HOSTS}:add", first=1, second=1) == 2


def test_an_ended_lab_says_so(start_lab: StartLab) -> None:
    """Ending twice does no harm."""
    lab = start_lab("ended")
    lab.end()
    lab.end()
    with pytest.raises(LabFailed, match="has ended"):
        lab.traffic()
    assert not lab.folder.exists()
