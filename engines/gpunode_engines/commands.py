"""``gpunode models list`` and ``gpunode models pull``."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gpunode_engines.catalogue import CatalogueEntry
    from gpunode_engines.config import EngineSettings

models_app = typer.Typer(help="Models that this machine can serve.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(app: typer.Typer) -> None:
    """Add the ``models`` commands."""
    app.add_typer(models_app, name="models")


@models_app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """Show the catalogue and which models are here."""
    from gpunode_engines.backend_choice import on_machine  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.catalogue import default_catalogue  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.config import EngineSettings  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.devices import detect_machine  # noqa: PLC0415 -- keep `gpunode --help` quick

    settings, machine = EngineSettings.load({}), detect_machine()
    entries = [on_machine(entry, settings, machine) for entry in default_catalogue().entries]
    rows = [_described(entry, settings) for entry in entries]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    _print_table(rows)


@models_app.command("pull")
def pull_model(
    model: Annotated[str, typer.Argument(help="Name or alias; see `gpunode models list`.")],
    as_json: JsonOption = False,
) -> None:
    """Download a model and verify it."""
    from gpunode_engines.backend_choice import on_machine  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.catalogue import resolve_model  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.config import EngineSettings  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.devices import detect_machine  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.download_display import download_bars  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.fetch import pull  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.remotes import choose_remote  # noqa: PLC0415 -- keep `gpunode --help` quick

    settings = EngineSettings.load({})
    entry = on_machine(resolve_model(model), settings, detect_machine())
    with download_bars() as progress:
        paths = pull(entry, settings.models_dir, choose_remote(settings.model_mirror, progress))
    if as_json:
        typer.echo(json.dumps(_described(entry, settings)))
        return
    for path in paths:
        typer.echo(f"{entry.name}: {path}")


def _described(entry: "CatalogueEntry", settings: "EngineSettings") -> dict[str, object]:
    """Return one model as the JSON output shows it. Sizes in bytes; estimates until the files are here."""
    from gpunode_engines.errors import ModelNotPulled  # noqa: PLC0415 -- keep `gpunode --help` quick
    from gpunode_engines.fetch import locate  # noqa: PLC0415 -- keep `gpunode --help` quick

    try:
        files = [str(path) for path in locate(entry, settings.models_dir)]
        size = sum(path.stat().st_size for path in locate(entry, settings.models_dir))
    except ModelNotPulled:
        files, size = [], entry.weights_bytes()
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "task": str(entry.task),
        "backend": entry.backend,
        "licence": entry.licence,
        "pulled": bool(files),
        "files": files,
        "weights_bytes": size,
        "memory_bytes": entry.memory_bytes(weights_bytes=size),
        "context_tokens": entry.context_tokens,
    }


def _print_table(rows: list[dict[str, object]]) -> None:
    from rich.console import Console  # noqa: PLC0415 -- keep `gpunode --help` quick
    from rich.filesize import decimal  # noqa: PLC0415 -- keep `gpunode --help` quick
    from rich.table import Table  # noqa: PLC0415 -- keep `gpunode --help` quick

    table = Table()
    for heading in ("model", "task", "weights", "memory", "licence", "here"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        sizes = [decimal(int(str(row[key]))) for key in ("weights_bytes", "memory_bytes")]
        texts = [str(row[key]) for key in ("name", "task")]
        table.add_row(*texts, *sizes, str(row["licence"]), "yes" if row["pulled"] else "no")
    Console().print(table)
