"""``gpunode bench lab up|run|down WORLD``."""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from gpunode_benchmarks.lab.lab import Lab

_INTERRUPTED: Final = 130  # what shells say of a program that ended by Ctrl-C
_SIGNALLED: Final = 128

_World = Annotated[str, typer.Argument(metavar="WORLD", help="A shipped world, such as clouds, or a file *.toml.")]


def lab_app() -> typer.Typer:
    """Return the ``lab`` commands."""
    app = typer.Typer(help="A network lab: hosts in namespaces, with the delays of a world file. Needs root.")
    app.command("up")(up)
    app.command("run", context_settings={"ignore_unknown_options": True})(run)  # they belong to the host's command
    app.command("down")(down)
    return app


def up(world: _World) -> None:
    """Start a lab that stays until it is taken down."""
    from rich.console import Console  # noqa: PLC0415 -- keep `gpunode --help` quick
    from rich.table import Table  # noqa: PLC0415 -- keep `gpunode --help` quick

    from gpunode_benchmarks.lab.lab import Lab  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_benchmarks.lab.world import find_world, load_world  # noqa: PLC0415 -- keep `gpunode --help` quick

    path = find_world(world)
    lab = Lab.start_staying(path.stem, load_world(path))
    table = Table("host", "region", "place", "address")
    for host, where in lab.world.hosts.items():
        table.add_row(host, lab.world.region_of(host), where.place, lab.world.address_of(host))
    Console().print(table)
    first = next(iter(lab.world.hosts))
    typer.echo(f"Run something: gpunode bench lab run {world} {first} COMMAND…   Take it down: … lab down {world}")


def run(
    world: _World,
    host: Annotated[str | None, typer.Argument(metavar="HOST", help="Where to run a command.")] = None,
    command: Annotated[list[str] | None, typer.Argument(metavar="COMMAND…", help="What to run there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as one JSON object.")] = False,
) -> None:
    """Run a command on a host; without one, measure whether the lab keeps what the world says.

    In the lab that is up; if none is, in one that ends with the command. After --, all options are COMMAND's.
    """
    from gpunode_benchmarks.lab.lab import Lab  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_benchmarks.lab.world import find_world, load_world  # noqa: PLC0415 -- keep `gpunode --help` quick

    path = find_world(world)
    if host is not None and not command:
        raise typer.BadParameter(f"Say what to run there: gpunode bench lab run {world} {host} COMMAND…")
    if host is not None and as_json:
        raise typer.BadParameter("Put -- before HOST: what follows is the command's own.", param_hint="--json")
    staying = Lab.attach(path.stem)
    lab = staying or Lab.start(path.stem, load_world(path))
    try:
        if host is None or command is None:
            _measure(lab, as_json=as_json)
        else:
            raise typer.Exit(_run_command(lab, host, command))
    finally:
        if staying is None:
            lab.end()


def down(world: _World) -> None:
    """End every lab of a world and remove what killed ones have left."""
    from gpunode_benchmarks.lab.lab_folders import folders_of, remove_lab  # noqa: PLC0415 -- keep --help quick

    name = Path(world).stem
    lived = [remove_lab(folder) for folder in folders_of(name)]
    if not lived:
        typer.echo(f"There is no lab {name}.")
    else:
        typer.echo(f"Labs of {name} ended: {sum(lived)}. Left-overs of killed ones removed: {lived.count(False)}.")


def _measure(lab: "Lab", *, as_json: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 -- keep `gpunode --help` quick

    from gpunode_benchmarks.lab.measure import measure_lab  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_benchmarks.report import machine_facts, to_json, to_tables  # noqa: PLC0415 -- keep --help quick

    with Console(stderr=True).status("measuring: lab"):
        result = measure_lab(lab)
    if as_json:
        typer.echo(json.dumps(to_json([result], machine_facts())))
    else:
        Console().print(to_tables([result], machine_facts()))


def _run_command(lab: "Lab", host: str, command: list[str]) -> int:
    """Run a command with this terminal; return the exit code as a shell would."""
    if host not in lab.world.hosts:
        raise typer.BadParameter(f"There is no host {host!r}. Hosts: {', '.join(lab.world.hosts)}.")
    with lab.launch(host, command, standard=(0, 1, 2)) as program:
        try:
            code = program.wait()
        except KeyboardInterrupt:
            program.send_signal(signal.SIGINT)
            program.wait()
            return _INTERRUPTED
    return code if code >= 0 else _SIGNALLED - code
