"""``gpunode start``, ``status``, ``pause``, ``resume``, ``earnings`` and ``link``."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpunode_node.command_options import (
    AnnounceAddressOption,
    BootstrapOption,
    CaFileOption,
    CountryOption,
    DataDirOption,
    DrainTimeoutOption,
    ExposureCreditsOption,
    HeartbeatIntervalOption,
    IdleUnloadOption,
    InsecureOption,
    JsonOption,
    LatitudeOption,
    ListenOption,
    LongitudeOption,
    MaxGpuMemoryOption,
    MaxPowerOption,
    ModelOption,
    ModelsDirOption,
    NameOption,
    NetworkIdOption,
    NoQuicOption,
    PauseWhenBusyOption,
    PortOption,
    PullOption,
    QueueLimitOption,
    RegionOption,
    SandboxOption,
    ScheduleOption,
    SlotsOption,
    ThreadsOption,
    TrackerOption,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


def register(app: typer.Typer) -> None:
    """Add the node's commands."""
    app.command("pause")(pause)
    app.command("resume")(resume)
    app.command("start")(start)
    app.command("status")(status)
    app.command("earnings")(earnings)
    app.command("link")(link)


def start(  # noqa: PLR0913 -- one parameter an option
    *,
    pull: PullOption = False,
    tracker: TrackerOption = None,
    bootstrap: BootstrapOption = None,
    insecure: InsecureOption = None,
    ca_file: CaFileOption = None,
    network_id: NetworkIdOption = None,
    model: ModelOption = None,
    models_dir: ModelsDirOption = None,
    region: RegionOption = None,
    country: CountryOption = None,
    latitude: LatitudeOption = None,
    longitude: LongitudeOption = None,
    name: NameOption = None,
    data_dir: DataDirOption = None,
    listen: ListenOption = None,
    port: PortOption = None,
    announce_address: AnnounceAddressOption = None,
    slots: SlotsOption = None,
    queue_limit: QueueLimitOption = None,
    threads: ThreadsOption = None,
    idle_unload: IdleUnloadOption = None,
    max_gpu_memory: MaxGpuMemoryOption = None,
    max_power: MaxPowerOption = None,
    schedule: ScheduleOption = None,
    pause_when_busy: PauseWhenBusyOption = None,
    sandbox: SandboxOption = None,
    exposure_credits: ExposureCreditsOption = None,
    drain_timeout: DrainTimeoutOption = None,
    heartbeat_interval: HeartbeatIntervalOption = None,
    no_quic: NoQuicOption = False,
) -> int:
    """Run a node: join a network, serve models, earn credits."""
    given = {
        "bootstrap": bootstrap,
        "insecure": insecure,
        "ca_file": ca_file,
        "network_id": network_id,
        "model": tuple(model or ()),
        "models_dir": models_dir,
        "region": region,
        "country": country,
        "latitude": latitude,
        "longitude": longitude,
        "name": name,
        "data_dir": data_dir,
        "listen": tuple(listen or ()),
        "port": port,
        "announce_address": tuple(announce_address or ()),
        "engine_slots": slots,
        "queue_limit": queue_limit,
        "engine_threads": threads,
        "idle_unload_s": idle_unload,
        "max_gpu_memory": max_gpu_memory,
        "max_power_watts": max_power,
        "schedule": schedule,
        "pause_when_busy": pause_when_busy,
        "sandbox": sandbox,
        "exposure_credits": exposure_credits,
        "drain_timeout_s": drain_timeout,
        "heartbeat_interval_s": heartbeat_interval,
        "quic": False if no_quic else None,
    }
    return _start_pull_worker(given, tracker) if pull else _start_node(given, tracker)


def status(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show what the running node does."""
    _show(_ask(data_dir, "status"), as_json, "status")


def pause(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Take no jobs until `gpunode resume`: finish what runs and give the memory back."""
    _show(_ask(data_dir, "pause"), as_json, "pause")


def resume(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Take jobs again after `gpunode pause`."""
    _show(_ask(data_dir, "resume"), as_json, "pause")


def earnings(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show what this node has earned."""
    _show(_ask(data_dir, "earnings"), as_json, "earnings")


def link(
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with the account's API key; by default GPUNODE_API_KEY, or a prompt.")
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Attach this node to an account, which then gets its earnings."""
    answer = _ask(data_dir, "link", {"api_key": _api_key(api_key_file)})
    _show(answer, as_json, "link")


def _start_node(given: dict[str, Any], tracker: str | None) -> int:
    """Run a node of the mesh."""
    from gpunode_node.config import NodeSettings  # noqa: PLC0415 -- keep `gpunode --help` quick

    if tracker is not None:
        raise typer.BadParameter(
            "--tracker goes with --pull; a node of the mesh is told of its tracker by --bootstrap."
        )
    settings = NodeSettings.load(given)
    _ = settings.tracker  # an address that cannot be used is refused before anything heavy is imported
    import uvloop  # noqa: PLC0415 -- as above

    from gpunode_node.daemon import NodeDaemon  # noqa: PLC0415 -- imports aiohttp and more

    return _run(NodeDaemon(settings), uvloop.new_event_loop)


def _start_pull_worker(given: dict[str, Any], tracker: str | None) -> int:
    """Run a pull worker; uvloop is of use where it is installed, which it never is on Windows."""
    import importlib.util  # noqa: PLC0415 -- keep `gpunode --help` quick
    import os  # noqa: PLC0415 -- keep `gpunode --help` quick

    from gpunode_node.config import NodeSettings  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_node.pull_options import refuse_mesh_options, tracker_of  # noqa: PLC0415 -- as above

    refuse_mesh_options(given)
    bootstrap = NodeSettings.load(given).bootstrap
    settings = NodeSettings.load(given | {"bootstrap": tracker_of(tracker, os.environ, bootstrap)})
    _ = settings.tracker
    from gpunode_node.pull.daemon import PullDaemon  # noqa: PLC0415 -- imports aiohttp and more

    factory = importlib.import_module("uvloop").new_event_loop if importlib.util.find_spec("uvloop") else None
    return _run(PullDaemon(settings), factory)


def _run(daemon: Any, loop_factory: "Callable[[], asyncio.AbstractEventLoop] | None" = None) -> int:
    import asyncio  # noqa: PLC0415 -- keep `gpunode --help` quick

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        code: int = runner.run(daemon.run())
    return code


def _ask(data_dir: Path | None, command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    from gpunode_node.config import NodeSettings  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_node.control_client import ask_daemon  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_node.node_folder import NodeFolder  # noqa: PLC0415 -- keep `gpunode --help` quick

    settings = NodeSettings.load({"data_dir": data_dir})
    return ask_daemon(NodeFolder(settings.data_dir).control, command, arguments)


def _api_key(file: Path | None) -> str:
    import os  # noqa: PLC0415 -- keep `gpunode --help` quick

    if file is not None:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    if key := os.environ.get("GPUNODE_API_KEY", "").strip():
        return key
    if not sys.stdin.isatty():
        raise typer.BadParameter("Give the account's API key with --api-key-file or GPUNODE_API_KEY.")
    key = typer.prompt("API key of the account", hide_input=True)
    return str(key).strip()


def _show(answer: dict[str, Any], as_json: bool, kind: str) -> None:
    if as_json:
        typer.echo(json.dumps(answer))
        return
    from gpunode_node import tables  # noqa: PLC0415 -- imports rich

    tables.show(kind, answer)
