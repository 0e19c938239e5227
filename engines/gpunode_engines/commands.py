"""``gpunode models list``, ``pull``, ``remove`` and ``verify``."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gpunode_engines.catalogue import CatalogueEntry
    from gpunode_engines.config import EngineSettings
    from gpunode_engines.devices import Machine

models_app = typer.Typer(help="Models that this machine can serve.", no_args_is_help=True)

ModelArgument = Annotated[str, typer.Argument(help="Name or alias; see `gpunode models list`.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(app: typer.Typer) -> None:
    """Add the ``models`` commands."""
    app.add_typer(models_app, name="models")


@models_app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """Show the catalogue and which models are here."""
    from gpunode_engines.backend_choice import on_machine  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.config import EngineSettings  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.devices import detect_machine  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.own_models import known_models  # noqa: PLC0415 -- keep `gpunode --help` quick

    settings, machine = EngineSettings.load({}), detect_machine()
    entries = [on_machine(entry, settings, machine) for entry in known_models(settings).entries]
    rows = [_described(entry, settings, machine) for entry in entries]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    _print_table(rows)


@models_app.command("pull")
def pull_model(
    model: ModelArgument,
    as_json: JsonOption = False,
) -> None:
    """Download a model and verify it."""
    from gpunode_engines.download_display import download_bars  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.fetch import pull  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.remotes import choose_remote  # noqa: PLC0415 -- keep `gpunode --help` quick

    entry, settings, machine = _resolved(model)
    with download_bars() as progress:
        paths = pull(entry, settings.models_dir, choose_remote(settings.model_mirror, progress))
    if as_json:
        typer.echo(json.dumps(_described(entry, settings, machine)))
        return
    for path in paths:
        typer.echo(f"{entry.name}: {path}")


@models_app.command("remove")
def remove_model(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Delete a pulled model."""
    from rich.filesize import decimal  # noqa: PLC0415 -- keep `gpunode --help` quick

    from gpunode_engines.model_store import remove  # noqa: PLC0415 -- keep `gpunode --help` quick

    entry, settings, _ = _resolved(model)
    freed = remove(entry, settings.models_dir)
    as_text = f"{entry.name}: {decimal(freed)} freed"
    typer.echo(json.dumps({"name": entry.name, "freed_bytes": freed}) if as_json else as_text)


@models_app.command("verify")
def verify_model(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Read a model's files and compare them with what was pulled or installed; exit code 1 if one differs."""
    from gpunode_engines.model_store import repair_command, verify  # noqa: PLC0415 -- keep `gpunode --help` quick

    entry, settings, _ = _resolved(model)
    states = verify(entry, settings.models_dir)
    if as_json:
        files = [{"name": state.name, "ok": not state.problem, "problem": state.problem} for state in states]
        typer.echo(json.dumps({"name": entry.name, "files": files}))
    else:
        for state in states:
            typer.echo(f"{entry.name}: {state.name} {state.problem or 'is as it was pulled or installed'}")
    if any(state.problem for state in states):
        if not as_json:
            typer.echo(f"Repair it with: {repair_command(entry)}", err=True)
        raise typer.Exit(1)


def _resolved(model: str) -> "tuple[CatalogueEntry, EngineSettings, Machine]":
    """Return a model with the weights for this machine, the settings and the machine."""
    from gpunode_engines.backend_choice import on_machine  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.config import EngineSettings  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.devices import detect_machine  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.own_models import known_models  # noqa: PLC0415 -- keep `gpunode --help` quick

    settings, machine = EngineSettings.load({}), detect_machine()
    return on_machine(known_models(settings).resolve(model), settings, machine), settings, machine


def _described(entry: "CatalogueEntry", settings: "EngineSettings", machine: "Machine") -> dict[str, object]:
    """Return one model as the JSON output shows it. Sizes in bytes; estimates until the files are here."""
    from gpunode_engines.errors import ModelNotPulled, UnreadableWeights  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.fetch import locate  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.plan import wanted_memory_bytes  # noqa: PLC0415 -- keep `gpunode --help` quick

    try:
        files = [str(path) for path in locate(entry, settings.models_dir)]
        size = sum(path.stat().st_size for path in locate(entry, settings.models_dir))
    except (ModelNotPulled, UnreadableWeights):
        files, size = [], entry.weights_bytes()
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "task": str(entry.task),
        "backend": entry.backend,
        "licence": entry.licence,
        "gated": entry.gated,
        "pulled": bool(files) or entry.source.kind == "server",
        "files": files,
        "weights_bytes": size,
        "memory_bytes": wanted_memory_bytes(entry, settings, machine),
        "context_tokens": entry.context_tokens,
    }


def _print_table(rows: list[dict[str, object]]) -> None:
    from rich.console import Console  # noqa: PLC0415 -- keep `gpunode --help` quick
    from rich.filesize import decimal  # noqa: PLC0415 -- keep `gpunode --help` quick
    from rich.table import Table  # noqa: PLC0415 -- keep `gpunode --help` quick
    from rich.text import Text  # noqa: PLC0415 -- keep `gpunode --help` quick

    table = Table()
    for heading in ("model", "weights", "memory", "licence", "here"):
        table.add_column(heading, no_wrap=heading != "licence")
    for row in rows:
        name, licence = Text(f"{row['name']}\n{row['task']}"), Text(str(row["licence"]))
        if row["gated"]:
            licence.append("\ngated: needs a folder or mirror")
        sizes = [decimal(int(str(row[key]))) for key in ("weights_bytes", "memory_bytes")]
        table.add_row(name, *sizes, licence, "yes" if row["pulled"] else "no")
    Console().print(table)
