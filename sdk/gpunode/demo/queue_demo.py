"""``gpunode demo --pull``: one question through the tracker's queue, answered by a pull worker."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import typer
from gpunode_protocol.jobs_api import JobEventName, JobSubmission, JobView
from gpunode_protocol.tasks import Task

from gpunode.demo.chat_task import DEFAULT_PROMPT
from gpunode.demo.children import DemoFailed
from gpunode.demo.queue_client import QueueClient
from gpunode.terminal_text import printable

if TYPE_CHECKING:
    from gpunode.demo.demo_task import DemoWish
    from gpunode.demo.queue_network import QueueNetwork

MAX_TOKENS: Final = 256
_MICROCREDITS: Final = 1_000_000


@dataclass
class Told:
    """What the queue said of a job. waited_ms: from its submission to its start, None before that."""

    as_json: bool
    submitted_at: float
    waited_ms: float | None = None
    text: list[str] = field(default_factory=list)

    def take(self, name: str, data: Any, now: float) -> None:
        """Note an event, and show it to a person; now: monotonic seconds."""
        if name == JobEventName.QUEUED:
            self._say(f"queued at position {data.get('position')}, {_in_words(data.get('estimated_wait'))}")
        elif name == JobEventName.RUNNING:
            self.waited_ms = self.waited_ms or 1000 * (now - self.submitted_at)
            self._say(f"attempt {data.get('attempt')} runs at {data.get('served_by')}")
        elif name == JobEventName.TOKENS:
            self.text.append(data["text"])
            if not self.as_json:
                typer.echo(printable(data["text"]), nl=False)

    def _say(self, line: str) -> None:
        if not self.as_json:
            typer.secho(printable(line), dim=True)


def ask_queue(network: "QueueNetwork", wish: "DemoWish") -> None:
    """Ask, show what comes, and print what came of it.

    Raises:
        DemoFailed: the job did not end well. ClientError: the tracker refused something.
    """
    prompt = wish.prompt or DEFAULT_PROMPT
    if not wish.as_json:
        typer.secho(f"> {prompt}", bold=True)
    job, told = asyncio.run(_ask(network, prompt, wish))
    facts = _facts(network, job, told)
    if wish.as_json:
        typer.echo(json.dumps(facts))
    else:
        _show(facts)


async def _ask(network: "QueueNetwork", prompt: str, wish: "DemoWish") -> tuple[JobView, Told]:
    params = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": MAX_TOKENS}
    async with QueueClient(network.url, network.api_key) as queue:
        told = Told(wish.as_json, time.monotonic())
        ticket = await queue.submit(JobSubmission(type=Task.LLM, params=params, model=wish.model))
        async for name, data in queue.follow(ticket.job_id):
            told.take(name, data, time.monotonic())
        if not wish.as_json:
            typer.echo()
        return await queue.job(ticket.job_id), told


def _facts(network: "QueueNetwork", job: JobView, told: Told) -> dict[str, Any]:
    """Return what ``--json`` prints; waits until the ledger has the receipt."""
    if job.result is None or job.receipt is None:
        raise DemoFailed(f"The job is {job.status}: {job.error or job.note or 'nobody said why'}. Try again.")
    proved = network.prove(job.receipt, job.job_id)
    return {
        "answer": job.result["response"],
        "model": job.model,
        "job_id": job.job_id,
        "worker": network.worker_id,
        "waited_ms": round(told.waited_ms or 0.0, 1),
        "tokens": job.result["usage"]["completion_tokens"],
        "receipt": {"id": job.receipt, "verified": proved.verified, "in_ledger": proved.in_ledger},
        "balances": {
            "client": network.client_balance_microcredits() / _MICROCREDITS,
            "worker": network.worker_balance_microcredits() / _MICROCREDITS,
        },
    }


def _show(facts: dict[str, Any]) -> None:
    """Print the facts as a table."""
    from rich.console import Console  # noqa: PLC0415 -- --help stays light
    from rich.table import Table  # noqa: PLC0415 -- as above

    receipt, balances = facts["receipt"], facts["balances"]
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # ids are there to be copied: nothing is cut
    rows = {
        "job": facts["job_id"],
        "worker": f"{facts['worker']}, by HTTP alone",
        "waited": f"{facts['waited_ms']:.0f} ms in the queue",
        "tokens": str(facts["tokens"]),
        "receipt": receipt["id"],
        "": f"{'verified' if receipt['verified'] else 'not verified'}, "
        f"{'in the ledger' if receipt['in_ledger'] else 'not in the ledger yet'}",
        "balances": f"client {balances['client']:,.6f} credits, worker {balances['worker']:,.6f} credits",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def _in_words(wait_s: float | None) -> str:
    return "nobody can do it now" if wait_s is None else f"starts in about {wait_s:.0f} s"
