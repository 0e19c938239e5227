"""Closing a job's books: what it came to, and which voucher the tracker gets."""

import asyncio
from collections.abc import Callable

from gpunode_protocol.node_job import NodeJob
from gpunode_protocol.payloads import Usage
from gpunode_protocol.prices import input_units

from gpunode_node.admission import JobKey
from gpunode_node.bell import Bell
from gpunode_node.job_services import JobServices

SETTLE_GRACE_S = 15.0
"""The final voucher is awaited for so long after a job's end; then the last one goes to the tracker."""


def cost_microcredits(job: NodeJob, services: JobServices) -> int:
    """Return what a job that is over came to: all of its output; input only where the job got its receipt."""
    usage = job.receipt.body.usage if job.receipt else Usage()
    return services.network().cost_microcredits(
        job.task,
        job.request.body.model,
        price_version=job.grant.price,
        input_units=input_units(job.task, usage),
        output_units=job.output.count,
    )


async def close_books(
    key: JobKey, job: NodeJob, services: JobServices, *, bell: Bell, may_wait: Callable[[], bool]
) -> None:
    """Note the cost, await the final voucher, and release the last one when none came.

    Args:
        key: of the job. job: accepted, and over.
        services: shared by all jobs.
        bell: rings when a voucher came.
        may_wait: whether a final voucher can still come.
    """
    await services.desk.finish(key, cost_microcredits(job, services))
    clock = asyncio.get_running_loop().time
    until = clock() + SETTLE_GRACE_S
    while not job.is_settled and clock() < until and may_wait():
        await bell.wait(until - clock())
    await services.desk.keep(key)
    if not job.is_settled and job.last_voucher is not None:
        services.outbox.release(key)
        services.outbox_ready()
