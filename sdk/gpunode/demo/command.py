"""The command itself. Imports nothing heavy: every command line loads it."""

import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

import typer

from gpunode.cli_options import JsonOption

if TYPE_CHECKING:
    from gpunode.demo.children import Children
    from gpunode.demo.demo_task import DemoAnswer, DemoTask, DemoWish
    from gpunode.demo.network import DemoNetwork, Say

#: Short, because p2pd's and the nodes' Unix sockets lie below it (107 bytes at most).
_FOLDER_PREFIX: Final = "gpudemo-"
_NODES: Final = 3


def demo(
    *,
    pull: Annotated[
        bool, typer.Option("--pull", help="One question through the tracker's queue to a pull worker, without a mesh.")
    ] = False,
    task: Annotated[Literal["llm", "image_gen", "whisper"], typer.Option(help="What is demonstrated.")] = "llm",
    prompt: Annotated[
        str | None, typer.Option(help="A question or what to draw; without it a chat, if this is a terminal.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the picture (image_gen), .png, .jpg or .webp.")] = None,
    file: Annotated[Path | None, typer.Option(help="Audio file to write down (whisper).")] = None,
    nodes: Annotated[
        int | None, typer.Option(help="Nodes to start, in different regions.", min=1, max=16, show_default="3")
    ] = None,
    model: Annotated[str | None, typer.Option(help="What they serve, if not the task's small model.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a whole network on this machine (a tracker and nodes), ask it, and leave nothing behind."""
    from gpunode.demo.children import Children, DemoFailed  # noqa: PLC0415 -- --help stays light
    from gpunode.demo.demo_task import DemoWish  # noqa: PLC0415 -- as above
    from gpunode.demo.model_check import check_model  # noqa: PLC0415 -- as above
    from gpunode.demo.network import start_network  # noqa: PLC0415 -- as above

    if sys.platform == "win32":
        raise DemoFailed(
            "The demo starts a tracker, which does not run on Windows. There a worker for a tracker elsewhere does: "
            "gpunode start --pull --tracker HOST"
        )
    if pull and (task != "llm" or nodes or out or file):
        raise typer.BadParameter("--pull shows one chat at one worker; leave --task, --nodes, --out and --file out.")
    chosen = _task(task)
    interactive = prompt is None and not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    wish = DemoWish(
        prompt=prompt, model=model or chosen.model, out=out, file=file, as_json=as_json, interactive=interactive
    )
    chosen.check(wish)
    with (
        _sigterm_as_exit(),
        tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX, ignore_cleanup_errors=True) as folder,
        Children(Path(folder)) as children,
    ):
        if model is not None:
            check_model(children, chosen.task, model)
        if pull:
            _demo_queue(Path(folder), children, wish)
            return
        with _progress() as say:
            network = start_network(
                Path(folder), children, nodes=nodes or _NODES, task=chosen.task, model=wish.model, say=say
            )
        with network.client:
            answer = chosen.ask(network.client, wish)
            if answer is not None:
                facts = _facts(network, answer)
                if as_json:
                    typer.echo(json.dumps(facts))
                else:
                    _show(facts, answer)


def _demo_queue(folder: Path, children: "Children", wish: "DemoWish") -> None:
    """Show a job on its way through the queue."""
    from gpunode.demo.queue_demo import ask_queue  # noqa: PLC0415 -- --help stays light
    from gpunode.demo.queue_network import start_queue_network  # noqa: PLC0415 -- as above

    with _progress() as say:
        network = start_queue_network(folder, children, model=wish.model, say=say)
    with network.client:
        ask_queue(network, wish)


def _task(name: str) -> "DemoTask":
    """Return the strategy of a task."""
    from gpunode.demo.chat_task import ChatTask  # noqa: PLC0415 -- --help stays light
    from gpunode.demo.image_task import ImageTask  # noqa: PLC0415 -- as above
    from gpunode.demo.speech_task import SpeechTask  # noqa: PLC0415 -- as above

    tasks: tuple[DemoTask, ...] = (ChatTask(), ImageTask(), SpeechTask())
    return next(task for task in tasks if task.task == name)


def _facts(network: "DemoNetwork", answer: "DemoAnswer") -> dict[str, Any]:
    """Return what ``--json`` prints; waits until the ledger has the receipt."""
    from gpunode.result_json import job_as_json  # noqa: PLC0415 -- as above

    result = answer.result
    in_ledger = network.wait_in_ledger(result.receipt.id)
    told = job_as_json(result)
    return {
        **answer.facts,
        "model": told["model"],
        "nodes": len(network.nodes),
        "route": {name: told["route"][name] for name in ("node_id", "region", "rtt_ms", "path", "source")},
        "ttft_ms": told["ttft_ms"],
        "receipt": {**told["receipt"], "in_ledger": in_ledger},
        "balances": {
            "client": network.client_balance_microcredits() / 1_000_000,
            "node": network.node_balance_microcredits(result.route.node) / 1_000_000,
        },
    }


def _show(facts: dict[str, Any], answer: "DemoAnswer") -> None:
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
        **answer.rows,
        "receipt": f"{receipt['id']}",
        "": "verified, in the ledger" if receipt["in_ledger"] else "verified, not in the ledger yet",
        "balances": f"client {balances['client']:,.6f} credits, node {balances['node']:,.6f} credits",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


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
