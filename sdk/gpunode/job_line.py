"""The line below a job's output: who did it, by which way, and that it verified. Imports nothing heavy."""

from typing import TYPE_CHECKING

from gpunode.terminal_text import milliseconds, printable, short_id

if TYPE_CHECKING:
    from gpunode.types import JobResult


def job_line(result: "JobResult", *facts: str) -> str:
    """Return one line. facts: what else there is to tell of this kind of job."""
    route = result.route
    parts = (
        result.model,
        f"{short_id(route.node)} in {route.region}",
        f"{milliseconds(route.rtt_ms)} {route.path}, found by {route.source}",
        *facts,
        f"receipt {result.receipt.id} verified",
    )
    return printable(f"[{' · '.join(parts)}]")
