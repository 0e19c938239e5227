"""``gpunode image``: pictures from a prompt, into files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

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

if TYPE_CHECKING:
    from gpunode.client import InferenceClient
    from gpunode.types import ImageProgress, ImageResult

Format = Literal["png", "jpeg", "webp"]

_FORMATS: Final[dict[str, Format]] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


@takes_limits
def image(  # noqa: PLR0913 -- one parameter an option
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    *,
    out: Annotated[Path, typer.Option(help="File to write: .png, .jpg or .webp; several pictures get numbers.")],
    model: Annotated[str | None, typer.Option(help="Model, such as sdxl-turbo; the network's default if not.")] = None,
    size: Annotated[str | None, typer.Option(help="Such as 1024x768; the model's own if left out.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps, 1 to 1000.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely the prompt is followed, 0 to 100.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same picture.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What shall not be seen.")] = None,
    n: Annotated[int | None, typer.Option("--n", help="Pictures, 1 to 16.")] = None,
    image_file: Annotated[Path | None, typer.Option("--image", help="Picture to begin with.")] = None,
    mask: Annotated[Path | None, typer.Option(help="What is white in it is painted anew.")] = None,
    strength: Annotated[float | None, typer.Option(help="How much of --image is replaced, up to 1.")] = None,
    preview_every: Annotated[
        int | None,
        typer.Option(metavar="STEPS", help="Write the picture so far to NAME.preview.jpg, every so many steps."),
    ] = None,
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
    """Draw pictures with a model on the network."""
    options = {
        "model": model, "region": within, "size": size, "steps": steps, "guidance": guidance, "seed": seed,
        "negative_prompt": negative_prompt, "n": n, "image": image_file, "mask": mask, "strength": strength,
        "preview_every_steps": preview_every,
    }  # fmt: skip
    check_in(image_file, mask)
    check_picture_out(out)
    client = open_client(
        tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir, region=region, limits=limits
    )
    with client:
        result, paths = draw(client, prompt, out, options, show=not as_json)
    if as_json:
        typer.echo(json.dumps(result_as_json(result, paths)))
    else:
        typer.echo("\n".join(map(str, paths)))
        typer.secho(summary(result), dim=True, err=True)


def check_picture_out(out: Path) -> Format:
    """Return the format that a file's suffix names; refuse one that could not be written, before anything is drawn."""
    if out.suffix.lower() not in _FORMATS:
        raise typer.BadParameter(f"{out} ends in none of {', '.join(_FORMATS)}")
    check_out(out)
    return _FORMATS[out.suffix.lower()]


def draw(
    client: "InferenceClient", prompt: str, out: Path, options: dict[str, Any], *, show: bool
) -> "tuple[ImageResult, tuple[Path, ...]]":
    """Draw, with a progress bar on standard error, and write the files; return their paths too.

    Previews, where they are asked for, go to ``NAME.preview.jpg``, each over the one before.
    """
    with _progress_bar(show=show) as bar:

        def on_progress(told: "ImageProgress") -> None:
            bar(told)
            if told.preview is not None:
                out.with_suffix(".preview.jpg").write_bytes(told.preview)

        result = client.generate_image(prompt, on_progress=on_progress, format=check_picture_out(out), **options)
    return result, result.save(out)


@contextmanager
def _progress_bar(*, show: bool) -> "Iterator[_Bar]":
    from rich.console import Console  # noqa: PLC0415 -- --help stays light
    from rich.progress import Progress  # noqa: PLC0415 -- as above

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (show and console.is_terminal)) as progress:
        yield _Bar(progress)


class _Bar:
    """Shows the steps of all pictures."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task = progress.add_task("drawing", total=None)

    def __call__(self, told: "ImageProgress") -> None:
        self._progress.update(self._task, completed=told.step, total=told.total)


def summary(result: "ImageResult") -> str:
    """Return one line: who drew, how long it took, and the receipt."""
    return job_line(result, f"{result.duration_ms / 1000:.1f} s", f"seed {result.seed}")


def result_as_json(result: "ImageResult", paths: "tuple[Path, ...]") -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    from gpunode.result_json import job_as_json  # noqa: PLC0415 -- --help stays light

    return {
        "outputs": [str(path) for path in paths],
        **job_as_json(result),
        "seed": result.seed,
        "usage": {"images": result.usage.images, "image_units": result.usage.image_units},
        "duration_ms": round(result.duration_ms, 1),
    }
