"""``gpunode jobs …``: jobs that wait at the tracker until somebody can do them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gpunode.cli_job_results import result_text, save_result
from gpunode.cli_options import (
    ApiKeyFileOption,
    CaFileOption,
    InsecureOption,
    JsonOption,
    StateDirOption,
    TrackerOption,
    open_client,
)
from gpunode.cli_out import check_out
from gpunode.cli_region import known_region
from gpunode.terminal_table import Column, fitting_table
from gpunode.terminal_text import printable

if TYPE_CHECKING:
    from gpunode_protocol.jobs_api import JobTicket, JobView

    from gpunode.client import InferenceClient

jobs = typer.Typer(name="jobs", help="Jobs that wait at the tracker until somebody can do them.", no_args_is_help=True)

JobArgument = Annotated[str, typer.Argument(help="The job's id, as 'gpunode jobs submit' printed it.", metavar="JOB")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="File for the result: text, JSON, or pictures.", show_default=False)
]
_EXIT_FAILURE: Final = 1
_COLUMNS: Final = (
    Column("job"),
    Column("type"),
    Column("status"),
    Column("model", drop=2),
    Column("submitted (UTC)", drop=3),
    Column("took", drop=1, is_number=True),
    Column("served by", drop=4),
)


@jobs.command()
def submit(  # noqa: PLR0913 -- one parameter an option
    task: Annotated[str, typer.Argument(help="llm, image_gen, whisper or embedding.", metavar="TYPE")],
    *,
    prompt: Annotated[str | None, typer.Option(help="What is asked, drawn or embedded.")] = None,
    file: Annotated[Path | None, typer.Option(help="Audio to write down, or a picture to begin with.")] = None,
    params: Annotated[str | None, typer.Option(help="Further parameters as JSON, or @FILE with them.")] = None,
    model: Annotated[str | None, typer.Option(help="The network's default if left out.")] = None,
    within: Annotated[
        str | None, typer.Option("--within", callback=known_region, help="Only workers and nodes of this region.")
    ] = None,
    priority: Annotated[int, typer.Option(help="9 goes first.", min=0, max=9)] = 0,
    webhook: Annotated[str | None, typer.Option(help="An https address that is told of the job's end.")] = None,
    wait_for: Annotated[bool, typer.Option("--wait", help="Wait for the result and print it.")] = False,
    out: OutOption = None,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
) -> int:
    """Put a job into the queue; what it may cost at most is reserved."""
    value = job_params(task, prompt=prompt, file=file, params=params)
    check_out(out)
    if out is not None and not wait_for:
        raise typer.BadParameter("--out needs --wait: there is no result yet")
    with open_client(tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir) as client:
        ticket = client.submit_job(task, value, region=within, priority=priority, model=model, webhook=webhook)
        if wait_for:
            typer.secho(f"job {ticket.job_id}", dim=True, err=True)
            return _show(_await(client, ticket.job_id, None), as_json=as_json, out=out)
    if as_json:
        typer.echo(ticket.model_dump_json(exclude_none=True))
    else:
        _print_ticket(ticket)
    return 0


@jobs.command()
def show(
    job: JobArgument,
    *,
    out: OutOption = None,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show how a job is, with its result once it has completed."""
    check_out(out)
    with open_client(tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir) as client:
        view = client.job(job)
    return _show(view, as_json=as_json, out=out, as_table=True)


@jobs.command(name="list")
def list_jobs(  # noqa: PLR0913 -- one parameter an option
    *,
    status: Annotated[
        str | None, typer.Option(help="Only queued, running, completed, failed or cancelled ones.")
    ] = None,
    task: Annotated[str | None, typer.Option("--type", help="Only llm, image_gen, whisper or embedding.")] = None,
    limit: Annotated[int, typer.Option(help="Jobs at most, newest first.", min=1, max=100)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the account's jobs."""
    with open_client(tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir) as client:
        page = client.jobs(status=status, task=task, limit=limit, cursor=cursor)
    if as_json:
        typer.echo(page.model_dump_json(exclude_none=True))
        return
    from rich.console import Console  # noqa: PLC0415 -- --help stays light

    console = Console()
    console.print(fitting_table(_COLUMNS, [_cells(view) for view in page.jobs], width=console.width))
    if page.next_cursor is not None:
        console.print(f"Older ones: --cursor {page.next_cursor}", highlight=False)


@jobs.command()
def cancel(
    job: JobArgument,
    *,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel a job that has not ended."""
    with open_client(tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir) as client:
        view = client.cancel_job(job)
    typer.echo(view.model_dump_json(exclude_none=True) if as_json else f"Cancelled {view.job_id}.")


@jobs.command()
def wait(  # noqa: PLR0913 -- one parameter an option
    job: JobArgument,
    *,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", help="Seconds at most; as long as it takes if left out.", min=0)
    ] = None,
    out: OutOption = None,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
) -> int:
    """Wait for a job's end and print its result; the exit code is 1 if it failed or was cancelled."""
    check_out(out)
    with open_client(tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir) as client:
        view = _await(client, job, timeout_s)
    return _show(view, as_json=as_json, out=out)


def job_params(task: str, *, prompt: str | None, file: Path | None, params: str | None) -> dict[str, Any]:
    """Return a job's parameters from the command line's options.

    Raises:
        BadParameter: the JSON cannot be read, or an option has no meaning for the task.
    """
    value = _read_params(params)
    if prompt is not None:
        match task:
            case "llm":
                value["messages"] = [*value.get("messages", []), {"role": "user", "content": prompt}]
            case "image_gen":
                value["prompt"] = prompt
            case "embedding":
                value["input"] = prompt
            case _:
                raise typer.BadParameter(f"--prompt says nothing to {task}")
    if file is not None:
        name = {"whisper": "audio", "image_gen": "image"}.get(task)
        if name is None:
            raise typer.BadParameter(f"--file says nothing to {task}")
        value[name] = file
    return value


def _read_params(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise typer.BadParameter(f"{text[1:]} cannot be read: {reason}") from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"--params is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter("--params must be a JSON object, such as '{\"max_tokens\": 100}'")
    return value


def _await(client: "InferenceClient", job: str, timeout_s: float | None) -> "JobView":
    """Return a job at its end. Raises Exit: it has not ended in time."""
    try:
        return client.wait_for_job(job, timeout_s=timeout_s)
    except TimeoutError as error:
        typer.echo(f"gpunode: job {job} has not ended within {timeout_s:g} s; it goes on.", err=True)
        raise typer.Exit(_EXIT_FAILURE) from error


def _show(view: "JobView", *, as_json: bool, out: Path | None, as_table: bool = False) -> int:
    """Print a job and return the exit code: 1 = it failed or was cancelled."""
    if out is not None and view.result is not None:
        for path in save_result(view.type, view.result, out):
            typer.echo(f"Wrote {path}.", err=True)
    if as_json:
        typer.echo(view.model_dump_json(exclude_none=True))
    elif as_table:
        _print_table(view)
    elif view.result is not None and out is None:
        typer.echo(printable(result_text(view.type, view.result)))
    elif view.status in {"failed", "cancelled"}:
        typer.echo(f"gpunode: job {view.job_id} {_ending(view)}", err=True)
    return _EXIT_FAILURE if view.status in {"failed", "cancelled"} and not as_table else 0


def _ending(view: "JobView") -> str:
    if view.status == "cancelled":
        return "was cancelled."
    return printable(f"failed after {view.attempts} attempts: {view.error}")


def _print_ticket(ticket: "JobTicket") -> None:
    typer.echo(ticket.job_id)
    wait_text = "" if ticket.estimated_wait is None else f"It begins in about {ticket.estimated_wait:.0f} s. "
    if ticket.webhook_secret is not None:
        wait_text += f"Its webhook is signed with {ticket.webhook_secret} (shown only now). "
    typer.secho(printable(f"{wait_text}{ticket.note}").strip() or ticket.status, dim=True, err=True)


def _print_table(view: "JobView") -> None:
    from rich.console import Console  # noqa: PLC0415 -- --help stays light
    from rich.table import Table  # noqa: PLC0415 -- as above
    from rich.text import Text  # noqa: PLC0415 -- as above

    facts = view.model_dump(mode="json", exclude_none=True, exclude={"result", "failures"})
    facts |= {name: _time(facts[name]) for name in ("created_at", "started_at", "completed_at") if name in facts}
    facts |= {f"attempt {number}": reason for number, reason in enumerate(view.failures, start=1)}
    if view.result is not None:
        facts["result"] = result_text(view.type, view.result)
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value != "":
            table.add_row(name.replace("_", " "), Text(printable(str(value))))
    Console().print(table)


def _cells(view: "JobView") -> tuple[str, ...]:
    took = "" if view.completed_at is None else f"{view.completed_at - view.created_at} s"
    return (
        view.job_id,
        view.type,
        view.status,
        view.model or "",
        _time(view.created_at),
        took,
        (view.served_by or "")[-20:],
    )


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
