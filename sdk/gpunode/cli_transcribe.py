"""``gpunode transcribe``: what is said in an audio file, as text, subtitles or JSON."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from gpunode.cli_out import check_out
from gpunode.job_line import job_line
from gpunode.terminal_text import printable
from gpunode.transcript_formats import TranscriptFormat

if TYPE_CHECKING:
    from gpunode.client import InferenceClient
    from gpunode.transcripts import TranscriptResult
    from gpunode.types import SpokenSegment


@takes_limits
def transcribe(  # noqa: PLR0913 -- one parameter an option
    file: Annotated[Path, typer.Argument(help="Audio file: wav, mp3, flac, ogg, m4a or webm.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="File to write as well: .srt, .vtt, .json, or text.", show_default=False)
    ] = None,
    form: Annotated[
        TranscriptFormat | None,
        typer.Option("--format", help="What is printed, or with --out written, whatever its name ends in."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Such as whisper-small; the network's default if left out.")] = None,
    translate: Annotated[bool, typer.Option("--translate", help="Into English.")] = False,
    language: Annotated[str | None, typer.Option(help="Such as de; detected if left out.")] = None,
    words: Annotated[bool, typer.Option("--words", help="Times of each word, in --json and .json files.")] = False,
    initial_prompt: Annotated[str | None, typer.Option(help="Names and words to expect.")] = None,
    no_vad: Annotated[bool, typer.Option("--no-vad", help="Decode silence too.")] = False,
    temperature: Annotated[float | None, typer.Option(help="0 to 1; 0 if left out.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Longer audio is refused; 60 if left out.")] = None,
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
    """Write down what is said in an audio file."""
    check_in(file)
    check_out(out)
    printed = form if out is None else None
    options = {
        "model": model, "region": within, "translate": translate, "language": language, "word_timestamps": words,
        "initial_prompt": initial_prompt, "vad": not no_vad, "temperature": temperature, "max_minutes": max_minutes,
    }  # fmt: skip
    client = open_client(
        tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir, region=region, limits=limits
    )
    with client:
        result = write_down(client, file, options, show=not as_json and printed is None)
    if out is not None:
        result.save(out, form)
    if as_json:
        typer.echo(json.dumps(result_as_json(result)))
    else:
        if printed is not None:
            typer.echo(printable(result.render(printed)), nl=False)
        typer.secho(summary(result), dim=True, err=True)


def write_down(client: "InferenceClient", file: Path, options: dict[str, Any], *, show: bool) -> "TranscriptResult":
    """Transcribe; segments are printed as they come."""

    def tell(segment: "SpokenSegment") -> None:
        typer.echo(printable(segment.text).strip())

    return client.transcribe(file, on_segment=tell if show else None, **options)


def summary(result: "TranscriptResult") -> str:
    """Return one line: who wrote it down, how fast, and the receipt."""
    speed = result.duration_s / (result.duration_ms / 1000) if result.duration_ms else 0.0
    return job_line(result, f"{result.duration_s:.1f} s of audio at {speed:.1f} times its speed")


def result_as_json(result: "TranscriptResult") -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    from gpunode.result_json import job_as_json  # noqa: PLC0415 -- --help stays light
    from gpunode.subtitles import segment_as_json  # noqa: PLC0415 -- as above

    return {
        "text": result.text,
        "language": result.language,
        "segments": [segment_as_json(segment) for segment in result.segments],
        **job_as_json(result),
        "duration_s": result.duration_s,
        "duration_ms": round(result.duration_ms, 1),
    }
