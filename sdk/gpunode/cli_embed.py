"""``gpunode embed``: texts as vectors, for programs that read JSON."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpunode.cli_in import check_in
from gpunode.cli_limits import LimitSettings, WithinOption, takes_limits
from gpunode.cli_options import (
    ApiKeyFileOption,
    CaFileOption,
    InsecureOption,
    JsonOption,
    RegionOption,
    StateDirOption,
    TrackerOption,
    open_client,
)
from gpunode.job_line import job_line

if TYPE_CHECKING:
    from gpunode.types import EmbeddingResult


@takes_limits
def embed(  # noqa: PLR0913 -- one parameter an option
    texts: Annotated[list[str] | None, typer.Argument(help="Texts, in quotes; each gives one vector.")] = None,
    *,
    file: Annotated[
        Path | None, typer.Option(help="UTF-8 file with more texts, one a line; empty lines are left out.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Such as all-minilm-l6-v2; the network's default if left out.")
    ] = None,
    no_normalize: Annotated[
        bool, typer.Option("--no-normalize", help="Vectors as the model gives them, and not all one long.")
    ] = False,
    within: WithinOption = None,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
    limits: LimitSettings,
) -> None:
    """Turn texts into vectors, near each other where the texts mean the like; one JSON list a line."""
    inputs = [*(texts or ()), *_lines_of(file)]
    if not inputs:
        raise typer.BadParameter("there is no text; write some, or name a file that has some with --file")
    client = open_client(
        tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir, region=region, limits=limits
    )
    with client:
        result = client.embed(inputs, model=model, region=within, normalize=not no_normalize)
    if as_json:
        from gpunode.result_json import job_as_json  # noqa: PLC0415 -- --help stays light

        told = {"vectors": result.vectors, "tokens": result.tokens, **job_as_json(result)}
        typer.echo(json.dumps(told))
        return
    for vector in result.vectors:
        typer.echo(json.dumps(vector))
    typer.secho(_summary(result), dim=True, err=True)


def _lines_of(file: Path | None) -> list[str]:
    check_in(file)
    if file is None:
        return []
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file} is no text in UTF-8") from error


def _summary(result: "EmbeddingResult") -> str:
    return job_line(result, f"{len(result.vectors[0])} dimensions, {result.tokens} tokens")
