"""The node's subcommands."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from gpunode_node import commands, control_client, daemon
from gpunode_node.config import NodeSettings
from gpunode_node.errors import DaemonNotRunning, NoBootstrap
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.geography import Position
from gpunode_protocol.regions import Region
from typer.testing import CliRunner


@pytest.fixture
def app() -> typer.Typer:
    """Return an application with the node's commands only."""
    application = typer.Typer()
    commands.register(application)
    return application


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[NodeSettings]]:
    """Collect the settings of daemons instead of running them."""
    seen: list[NodeSettings] = []

    class _Daemon:
        def __init__(self, settings: NodeSettings) -> None:
            seen.append(settings)

        async def run(self) -> int:
            return 0

    monkeypatch.setattr(daemon, "NodeDaemon", _Daemon)
    return iter([seen])


def _run(app: typer.Typer, *arguments: str) -> Any:
    return typer.main.get_command(app).main(args=list(arguments), standalone_mode=False)


def test_options_reach_the_settings(app: typer.Typer, started: Iterator[list[NodeSettings]], tmp_path: Path) -> None:
    """Each option has its setting, those of the engines among them."""
    seen = next(started)
    options = "--bootstrap 127.0.0.1:1 --model a --model b --region asia --country DE --name box --port 7 --no-quic"
    more = "--slots 2 --queue-limit 0 --threads 3 --exposure-credits 5 --drain-timeout 9 --heartbeat-interval 3"
    place = ["--latitude", "-33.9", "--longitude", "151.2"]
    folders = ["--data-dir", str(tmp_path), "--models-dir", str(tmp_path)]
    network = ["--network-id", "a" * 40, "--announce-address", "/dns4/x/tcp/1", "--listen", "/ip4/1.1.1.1/tcp/1"]
    assert _run(app, "start", *options.split(), *more.split(), *place, *folders, *network) == 0
    (settings,) = seen
    assert (settings.model, settings.region, settings.country, settings.name) == (("a", "b"), Region.ASIA, "DE", "box")
    assert settings.position == Position(-34, 151)
    assert (settings.port, settings.quic, settings.queue_limit, settings.exposure_credits) == (7, False, 0, 5)
    assert (settings.engine_slots, settings.engine_threads, settings.drain_timeout_s) == (2, 3, 9.0)
    assert settings.heartbeat_interval_s == 3.0
    assert (settings.data_dir, settings.models_dir, settings.network_id) == (tmp_path, tmp_path, "a" * 40)
    assert settings.listen_addresses == ("/ip4/1.1.1.1/tcp/1",)
    assert settings.announce_address == ("/dns4/x/tcp/1",)


def test_starting_without_a_tracker(app: typer.Typer) -> None:
    """The message names the option."""
    with pytest.raises(NoBootstrap):
        _run(app, "start")


def test_no_daemon(app: typer.Typer, tmp_path: Path) -> None:
    """Each command that asks one says so."""
    for command in (["status"], ["earnings", "--json"]):
        with pytest.raises(DaemonNotRunning):
            _run(app, *command, "--data-dir", str(tmp_path))


def test_answers(app: typer.Typer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """JSON for programs, a table for people."""
    answer = {
        "account": "node:x",
        "spendable_microcredits": 2_000_000,
        "paid_microcredits": 1,
        "settlements": {"settled": 3},
        "outbox": {"ready": 1, "held": 0, "unwritten": 0},
    }
    monkeypatch.setattr(control_client, "ask_daemon", lambda *_: answer)
    runner = CliRunner()
    as_json = runner.invoke(app, ["earnings", "--json", "--data-dir", str(tmp_path)])
    assert json.loads(as_json.output) == answer
    table = runner.invoke(app, ["earnings"])
    assert "2 credits" in table.output
    assert "3 settled" in table.output


def test_where_the_api_key_comes_from(app: typer.Typer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file, the environment, or a prompt at a terminal; never the command line."""
    keys: list[str] = []

    def ask(_: Path, command: str, arguments: dict[str, str]) -> dict[str, Any]:
        assert command == "link"
        keys.append(arguments["api_key"])
        return {"account": "a", "moved_microcredits": 0}

    monkeypatch.setattr(control_client, "ask_daemon", ask)
    (tmp_path / "key").write_text("from-file\n")
    runner = CliRunner()
    assert runner.invoke(app, ["link", "--api-key-file", str(tmp_path / "key")]).exit_code == 0
    assert runner.invoke(app, ["link"], env={"GPUNODE_API_KEY": "from-environment"}).exit_code == 0
    assert keys == ["from-file", "from-environment"]
    assert runner.invoke(app, ["link"], env={"GPUNODE_API_KEY": ""}).exit_code == 2


def test_nothing_heavy_is_imported_for_help() -> None:
    """The commands' module costs no aiohttp, hivemind, torch or rich."""
    program = "import sys, gpunode_node.commands; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["aiohttp", "hivemind", "torch", "uvloop", "pydantic_settings"]
    result = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_pull_worker(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch, started: Iterator[list[NodeSettings]], tmp_path: Path
) -> None:
    """The same settings reach it, with the tracker by its own option, by the environment, or as nodes have it."""
    from gpunode_node.pull import daemon as pull_daemon

    nodes, workers = next(started), list[NodeSettings]()

    class _Daemon:
        def __init__(self, settings: NodeSettings) -> None:
            workers.append(settings)

        async def run(self) -> int:
            return 0

    monkeypatch.setattr(pull_daemon, "PullDaemon", _Daemon)
    common = ["start", "--pull", "--model", "a", "--region", "asia", "--data-dir", str(tmp_path)]
    assert _run(app, *common, "--tracker", "https://t.example") == 0
    monkeypatch.setenv("GPUNODE_BOOTSTRAP", "b.example")
    assert _run(app, *common) == 0
    monkeypatch.setenv("GPUNODE_TRACKER", "e.example:8470")
    assert _run(app, *common) == 0
    addresses = ["https://t.example", "https://b.example", "https://e.example:8470"]
    assert [settings.tracker for settings in workers] == addresses
    assert (workers[0].model, workers[0].region, nodes) == (("a",), Region.ASIA, [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--pull", "--bootstrap", "t.example"], "--tracker URL"),
        (["--pull", "--tracker", "t.example", "--port", "7"], "--port"),
        (["--pull", "--tracker", "t.example", "--no-quic"], "--no-quic"),
        (["--tracker", "t.example"], "--bootstrap"),
    ],
)
def test_options_that_do_not_go_together(app: typer.Typer, options: list[str], words: str) -> None:
    """They are refused as a wrong use, in words that name the right option."""
    with pytest.raises(typer.BadParameter, match=words):
        _run(app, "start", *options)


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--pull"], "--tracker URL"), (["--pull", "--tracker", "http://t.example"], "plain http")],
)
def test_trackers_that_a_pull_worker_cannot_use(app: typer.Typer, options: list[str], words: str) -> None:
    """None at all, and one that anybody in between could read."""
    with pytest.raises(GpunodeError, match=words):
        _run(app, "start", *options)
