"""``gpunode start``, ``status``, ``pause``, ``resume``, ``earnings`` and ``link``."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from gpunode_engines.confinement import SandboxMode
from gpunode_protocol.regions import Region

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DataDirOption = Annotated[
    Path | None, typer.Option(help="The node's folder; by default the platform's. GPUNODE_DATA_DIR")
]


def _region(text: str) -> Region:
    """Return the region of this name, in any case. Raises BadParameter, which names them all."""
    try:
        return Region(text.lower())
    except ValueError as error:
        *most, last = Region
        raise typer.BadParameter(f"{text} is not a region. Choose {', '.join(most)} or {last}.") from error


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
    bootstrap: Annotated[
        str | None,
        typer.Option(metavar="HOST[:PORT]", help="The tracker whose network to join; https, port 443."),
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Allow plain http to a tracker on another machine.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file of certificate authorities, instead of the system's.")
    ] = None,
    network_id: Annotated[str | None, typer.Option(help="Join only this network (40 hex digits).")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="What to serve, up to 4 times; by default what fits, the network's default first."),
    ] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Where pulled models are.")] = None,
    region: Annotated[
        Region | None,
        typer.Option(
            parser=_region, metavar=f"[{'|'.join(Region)}]", help="Where this node is; by default as its address says."
        ),
    ] = None,
    country: Annotated[str | None, typer.Option(help="Two letters, such as DE.")] = None,
    name: Annotated[str | None, typer.Option(help="Shown to the tracker's operator.")] = None,
    data_dir: DataDirOption = None,
    listen: Annotated[list[str] | None, typer.Option(metavar="MULTIADDR", help="Where to listen; repeatable.")] = None,
    port: Annotated[int | None, typer.Option(help="libp2p port, TCP and UDP; 0 = any free one.")] = None,
    announce_address: Annotated[
        list[str] | None, typer.Option(metavar="MULTIADDR", help="Where others reach this node; repeatable.")
    ] = None,
    slots: Annotated[int | None, typer.Option(help="Jobs at once for each model; by default the catalogue's.")] = None,
    queue_limit: Annotated[int | None, typer.Option(help="Jobs that may wait for each model.")] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of an engine; by default the physical cores.")
    ] = None,
    idle_unload: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="A model idle for so long leaves memory; 0 = never.")
    ] = None,
    max_gpu_memory: Annotated[
        str | None, typer.Option(metavar="MB|%", help="What models may take of each card, such as 6000 or 50%.")
    ] = None,
    max_power: Annotated[int | None, typer.Option(metavar="WATTS", help="What each card may draw.")] = None,
    schedule: Annotated[
        str | None, typer.Option(metavar="HH:MM-HH:MM", help="Serve only then (local time); several by commas.")
    ] = None,
    pause_when_busy: Annotated[
        bool | None, typer.Option("--pause-when-busy", help="Give way while another program uses a card.")
    ] = None,
    sandbox: Annotated[
        SandboxMode | None, typer.Option(help="Where engines cannot be confined fully: go on, or refuse to start.")
    ] = None,
    exposure_credits: Annotated[int | None, typer.Option(help="Credits at risk for one open grant.")] = None,
    drain_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="What running jobs get at a stop.")
    ] = None,
    heartbeat_interval: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How often to ask the tracker what was revoked.")
    ] = None,
    no_quic: Annotated[bool, typer.Option("--no-quic", help="Leave QUIC out.")] = False,
) -> int:
    """Run a node: join a network, serve models, earn credits."""
    from gpunode_node.config import NodeSettings  # noqa: PLC0415 -- keep `gpunode --help` quick

    settings = NodeSettings.load(
        {
            "bootstrap": bootstrap,
            "insecure": insecure,
            "ca_file": ca_file,
            "network_id": network_id,
            "model": tuple(model or ()),
            "models_dir": models_dir,
            "region": region,
            "country": country,
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
    )
    _ = settings.tracker  # an address that cannot be used is refused before anything heavy is imported
    from gpunode_node.daemon import NodeDaemon  # noqa: PLC0415 -- imports aiohttp and more

    return _run(NodeDaemon(settings))


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


def _run(daemon: Any) -> int:
    import asyncio  # noqa: PLC0415 -- keep `gpunode --help` quick

    import uvloop  # noqa: PLC0415 -- keep `gpunode --help` quick

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
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
        return file.read_text(encoding="utf-8").strip()
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
