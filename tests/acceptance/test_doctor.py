"""``gpunode doctor`` beside a running network, beside a running node, without either, and on machines with faults."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.clocks import shifted_clock
from tests.acceptance.network import Network
from tests.acceptance.processes import clean_environment, run_gpunode

pytestmark = pytest.mark.acceptance

#: runs the command as if only the SDK's own dependencies were installed
SDK_ONLY = """
import sys
MISSING = {"hivemind", "torch", "multiaddr", "uvloop", "psutil", "pynvml", "xllamacpp", "huggingface_hub"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from gpunode.cli import main
sys.exit(main(sys.argv[1:]))
"""


def _checks(result: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, str]]:
    """Return what ``--json`` printed, by check; every fault comes with a fix."""
    assert "Traceback" not in result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    failed = [check for check in told["checks"] if check["status"] == "failure"]
    assert result.returncode == (1 if failed else 0), told
    assert told["ok"] is not bool(failed)
    assert all(check["fix"] for check in told["checks"] if check["status"] in {"warning", "failure"})
    return {check["name"]: check for check in told["checks"]}


def _statuses(checks: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: check["status"] for name, check in checks.items()}


def test_before_the_first_start(network: Network) -> None:
    """On a sound machine all is well; nothing is written, and peers have dialled back to it."""
    checks = _checks(network.command("doctor", "--json", state="doctor-new"))
    assert _statuses(checks) == {
        **dict.fromkeys(["settings", "state", "clock", "tracker", "grant", "p2pd", "mesh"], "ok"),
        **{"node": "skipped", "data": "ok", "ports": "ok", "certificate": "skipped", "reachability": "ok"},
        **dict.fromkeys(["memory", "gpu", "disk", "models", "sandbox"], "ok"),
    }
    assert "not pinned yet" in checks["tracker"]["message"]
    assert "127.0.0.1" in checks["reachability"]["message"]
    assert list((network.folder / "doctor-new").rglob("*")) == []


@pytest.mark.full
def test_a_client_with_a_grant(network: Network) -> None:
    """The kept grant is found, and no other one is asked for."""
    network.command("chat", "Hello", "--max-tokens", "1", state="doctor-client")
    checks = _checks(network.command("doctor", "--json", state="doctor-client"))
    assert "A grant is here for" in checks["grant"]["message"]
    assert "(pinned)" in checks["tracker"]["message"]


def test_beside_a_running_node(network: Network) -> None:
    """Its ports are its own, and its certificate and reachability are told as it knows them."""
    node = network.nodes["asia"]
    checks = _checks(network.command("doctor", "--json", "--data-dir", str(node.data_dir)))
    of_node = ("node", "data", "ports", "certificate", "reachability", "memory")
    assert {checks[name]["status"] for name in of_node} == {"ok"}
    assert node.run["peer_id"] in checks["node"]["message"]
    assert node.run["addresses"][0].partition("/p2p/")[0] in checks["ports"]["message"]
    assert "(7.0 days)" in checks["certificate"]["message"]


@pytest.mark.full
def test_the_lines_for_people(network: Network) -> None:
    """One line a check, in its order, and what to do below it; at the end the count."""
    result = network.command("doctor", state="doctor-new", GPUNODE_API_KEY="")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:5]] == [
        *(["ok", name] for name in ("settings", "state", "clock", "tracker")),
        ["skipped", "grant"],
    ]
    assert lines[5].strip().startswith("-> Give an account's key with GPUNODE_API_KEY")
    assert lines[-1].endswith("skipped")
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("offset_s", "clock", "mesh"),
    [
        (2, "ok", "ok"),
        pytest.param(-2, "ok", "ok", marks=pytest.mark.full),
        (5, "warning", "warning"),
        pytest.param(-5, "warning", "warning", marks=pytest.mark.full),
        (120, "failure", "warning"),
        (-120, "failure", "warning"),
    ],
)
def test_a_wrong_clock(network: Network, offset_s: int, clock: str, mesh: str) -> None:
    """It is told with its offset, and everything else goes on."""
    result = network.command("doctor", "--json", state="doctor-new", **shifted_clock(offset_s))
    checks = _checks(result)
    assert (checks["clock"]["status"], checks["tracker"]["status"]) == (clock, "ok")
    assert checks["mesh"]["status"] == mesh
    if clock != "ok":
        assert f"{abs(offset_s)} s {'ahead of' if offset_s > 0 else 'behind'} the tracker's" in _rounded(checks)
        assert "timedatectl" in checks["clock"]["fix"]


def _rounded(checks: dict[str, dict[str, str]]) -> str:
    """Return the clock's message; the tracker's clock is read to the second, so 119 and 121 are 120."""
    text = checks["clock"]["message"]
    for near, offset in (("4 s", "5 s"), ("6 s", "5 s"), ("119 s", "120 s"), ("121 s", "120 s")):
        text = text.replace(f"is {near}", f"is {offset}")
    return text


@pytest.mark.full
def test_strict(network: Network) -> None:
    """With ``--strict`` a warning is a failure to scripts."""
    clock = shifted_clock(5)
    assert network.command("doctor", state="doctor-new", **clock).returncode == 0
    assert network.command("doctor", "--strict", state="doctor-new", **clock).returncode == 1
    assert network.command("doctor", "--strictest", state="doctor-new").returncode == 2


def test_a_tracker_that_is_down(network: Network) -> None:
    """It is told, with what follows from it; what needs no tracker is checked as ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"
    checks = _checks(network.command("doctor", "--json", "--tracker", nobody, state="doctor-new"))
    assert {name for name, status in _statuses(checks).items() if status == "failure"} == {"tracker"}
    assert "does not answer" in checks["tracker"]["message"]
    assert {checks[name]["status"] for name in ("clock", "grant", "mesh", "reachability")} == {"skipped"}
    assert {checks[name]["status"] for name in ("p2pd", "data", "ports", "gpu", "disk", "models", "sandbox")} == {"ok"}


@pytest.mark.full
def test_a_tracker_that_hangs(network: Network) -> None:
    """One that accepts connections and says nothing stops nothing either."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"http://127.0.0.1:{server.getsockname()[1]}"
        checks = _checks(network.command("doctor", "--json", "--tracker", silent, state="doctor-new"))
    assert checks["tracker"]["status"] == "failure"
    assert checks["sandbox"]["status"] == "ok"


@pytest.mark.full
def test_another_network(network: Network) -> None:
    """A tracker that speaks for another network than the settings say fails."""
    checks = _checks(network.command("doctor", "--json", state="doctor-new", GPUNODE_NETWORK_ID="0" * 40))
    assert checks["tracker"]["status"] == "failure"
    assert "0" * 40 in checks["tracker"]["message"]


@pytest.mark.full
def test_a_wrong_api_key(network: Network) -> None:
    """It is told without the key."""
    result = network.command("doctor", "--json", state="doctor-new", GPUNODE_API_KEY="gpk_wrong")
    assert _checks(result)["grant"]["status"] == "failure"
    assert "gpk_wrong" not in result.stdout + result.stderr


@pytest.mark.full
def test_a_port_that_another_program_has(network: Network) -> None:
    """The node would not start with it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        checks = _checks(network.command("doctor", "--json", state="doctor-new", GPUNODE_PORT=str(port)))
    assert (checks["ports"]["status"], checks["reachability"]["status"]) == ("failure", "skipped")
    assert f"Port {port} is in use" in checks["ports"]["message"]


@pytest.mark.full
def test_settings_that_cannot_be_used(network: Network) -> None:
    """A broken file, or a bad address of the tracker, is one failure; what needs no settings is checked as ever."""
    home = network.folder / "doctor-toml"
    home.mkdir()
    bad_address = _checks(network.command("doctor", "--json", "--tracker", "ftp://x", state="doctor-toml"))
    (home / "gpunode.toml").write_text("[client\n")
    bad_file = _checks(network.command("doctor", "--json", state="doctor-toml"))
    assert f"{home / 'gpunode.toml'} cannot be read" in bad_file["settings"]["message"]
    assert "ftp" in bad_address["settings"]["message"]
    for checks, well in ((bad_file, {"p2pd", "sandbox"}), (bad_address, {"p2pd", "sandbox", "gpu", "disk", "models"})):
        assert {name for name, status in _statuses(checks).items() if status == "failure"} == {"settings"}
        assert {name for name, status in _statuses(checks).items() if status == "ok"} == well
        assert {status for name, status in _statuses(checks).items() if name not in well} == {"failure", "skipped"}


def test_folders_that_cannot_be_used(network: Network) -> None:
    """A file in the folder's place, and a place where nothing can be made; with the tracker down as well."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"
    options = ("--tracker", nobody, "--state-dir", "/etc/passwd", "--data-dir", "/proc/nope")
    checks = _checks(network.command("doctor", "--json", *options, state="doctor-new"))
    assert {name for name, status in _statuses(checks).items() if status == "failure"} == {"tracker", "state", "data"}
    assert "--state-dir" in checks["state"]["fix"]
    assert "--data-dir" in checks["data"]["fix"]


@pytest.mark.full
def test_a_damaged_model(network: Network, tmp_path: Path) -> None:
    """A pulled file that has changed since is named, with the command that mends it."""
    repository = tmp_path / "mirror" / "Qwen" / "Qwen2.5-0.5B-Instruct-GGUF"
    repository.mkdir(parents=True)
    (repository / "qwen2.5-0.5b-instruct-q4_k_m.gguf").write_bytes(bytes(1_000))
    variables = {"GPUNODE_MODEL_MIRROR": str(tmp_path / "mirror"), "GPUNODE_MODELS_DIR": str(tmp_path / "models")}
    assert network.command("models", "pull", "qwen2.5-0.5b", **variables).returncode == 0
    sound = _checks(network.command("doctor", "--json", state="doctor-new", **variables))["models"]
    assert (sound["status"], "all files are as they were pulled" in sound["message"]) == ("ok", True)
    (file,) = (tmp_path / "models").rglob("*.gguf")
    file.write_bytes(bytes(999) + b"x")
    damaged = _checks(network.command("doctor", "--json", state="doctor-new", **variables))["models"]
    assert (damaged["status"], damaged["fix"]) == ("failure", "gpunode models pull qwen2.5-0.5b-instruct")


def test_where_only_the_sdk_is_installed(network: Network) -> None:
    """Checks of parts that are not there are skipped, with the command that installs them; the rest is well."""
    home = network.folder / "doctor-sdk"
    home.mkdir()
    variables = {"GPUNODE_TRACKER": network.url, "GPUNODE_API_KEY": network.api_key}
    result = subprocess.run(
        [sys.executable, "-c", SDK_ONLY, "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=clean_environment(home) | variables,
        cwd=home,
    )
    checks = _checks(result)
    assert {checks[name]["status"] for name in ("state", "clock", "tracker", "grant", "data", "disk", "models")} == {
        "ok"
    }
    skipped = {"p2pd": "mesh", "mesh": "mesh", "reachability": "node", "memory": "node", "gpu": "node"}
    assert {name: checks[name]["fix"] for name in skipped} == {
        name: f"pip install 'gpunode[{extra}]'" for name, extra in skipped.items()
    }
    assert {checks[name]["status"] for name in skipped} == {"skipped"}


def test_without_any_settings(network: Network) -> None:
    """A machine on which nothing is set up gets no failure, and is told how to begin."""
    home = network.folder / "doctor-nothing"
    home.mkdir()
    checks = _checks(run_gpunode("doctor", "--json", home=home))
    assert checks["tracker"]["status"] == "warning"
    assert "--tracker" in checks["tracker"]["fix"]
