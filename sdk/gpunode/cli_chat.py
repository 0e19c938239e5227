"""``gpunode chat``: one answer, or a conversation at the terminal."""

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from gpunode.terminal_text import milliseconds, printable

if TYPE_CHECKING:
    from gpunode.client import InferenceClient
    from gpunode.types import ChatResult, Message

_HELP = "Type a message. /new starts over, /quit or Ctrl-D ends, Ctrl-C stops an answer."


@takes_limits
def chat(  # noqa: PLR0913 -- one parameter an option
    prompt: Annotated[str | None, typer.Argument(help="Without it: a conversation at the terminal.")] = None,
    *,
    model: Annotated[
        str | None, typer.Option(help="Model, such as qwen2.5-7b; the network's default if left out.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of the answer at most.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 to 2; 0 = always the likeliest token.")] = None,
    seed: Annotated[int | None, typer.Option(help="For repeatable sampling.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends the answer; may be repeated.")] = None,
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
    """Chat with a model on the network."""
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    options = {
        "model": model,
        "region": within,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        "stop": stop or None,
    }
    if prompt is None and as_json and sys.stdin.isatty():
        raise typer.BadParameter("--json needs a message: gpunode chat --json 'Hello'. A conversation is for people.")
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read()
    if prompt is not None and not prompt.strip():
        raise typer.BadParameter("the message is empty; nothing was sent. Give one: gpunode chat 'Hello'")
    with open_client(
        tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir, region=region, limits=limits
    ) as client:
        if prompt is None:
            converse(client, messages, options)
            return
        messages.append({"role": "user", "content": prompt})
        result = stream_answer(client, messages, options, show=not as_json)
    if as_json:
        typer.echo(json.dumps(result_as_json(result)))


def converse(client: "InferenceClient", messages: "list[Message]", options: dict[str, Any]) -> "ChatResult | None":
    """Hold a conversation until the user ends it; return the last answer."""
    from gpunode.errors import GpunodeError  # noqa: PLC0415 -- --help stays light

    _enable_line_editing()
    typer.secho(_HELP, dim=True, err=True)
    beginning, result = list(messages), None
    while (text := _read_line()) is not None:
        if text == "/new":
            messages[:] = beginning
        elif text:
            messages.append({"role": "user", "content": text})
            try:
                result = stream_answer(client, messages, options)
                messages.append({"role": "assistant", "content": result.response})
            except KeyboardInterrupt:
                messages.pop()
                typer.echo(" [stopped]")
            except GpunodeError as error:
                messages.pop()
                typer.secho(printable(f"\n{error}"), fg="red", err=True)  # a tracker's words may be in it
    return result


def stream_answer(
    client: "InferenceClient", messages: "list[Message]", options: dict[str, Any], *, show: bool = True
) -> "ChatResult":
    """Print an answer as it comes, then one line about its route; return it."""
    with client.chat(messages=messages, stream=True, **options) as chunks:
        for chunk in chunks:
            if show:
                typer.echo(printable(chunk.text), nl=False)
        result = chunks.result
    if show:
        typer.echo()
        typer.secho(summary(result), dim=True, err=True)
    return result


def summary(result: "ChatResult") -> str:
    """Return one line: who answered, how fast, and the receipt."""
    speed = [f"{result.tokens_per_s:.0f} tokens/s"] if result.tokens_per_s else []  # one token has none
    return job_line(result, f"first token {milliseconds(result.ttft_ms)}", *speed)


def result_as_json(result: "ChatResult") -> dict[str, Any]:
    """Return an answer as the object that ``--json`` prints."""
    from gpunode.result_json import job_as_json  # noqa: PLC0415 -- --help stays light

    return {
        "answer": result.response,
        **job_as_json(result),
        "usage": {
            "prompt_tokens": result.usage.prompt_tokens,
            "completion_tokens": result.usage.completion_tokens,
        },
        "tokens_per_s": round(result.tokens_per_s, 1),
    }


def _enable_line_editing() -> None:
    with contextlib.suppress(ImportError):  # Python may be built without it
        import readline  # noqa: F401, PLC0415 -- importing it gives input() its history


def _read_line() -> str | None:
    """Return what the user typed, None when they want to leave."""
    try:
        text = input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        typer.echo()
        return None
    return None if text in {"/quit", "/exit"} else text
