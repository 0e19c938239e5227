"""What a client's first job needs of the tracker, asked for while the mesh is being joined."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.tasks import Task

from gpunode._grants import GrantStore
from gpunode._index_ahead import IndexAhead
from gpunode._job_cost import JobCost
from gpunode._job_wish import JobWish
from gpunode._network import Network
from gpunode._placing import Demand, Placer
from gpunode._selection import Wanted


def prepare(
    wish: JobWish | None,
    network: Network,
    *,
    placer: Placer,
    index: IndexAhead,
    grants: GrantStore,
    spawn: Callable[[Coroutine[Any, Any, None]], object],
) -> None:
    """Begin to ask for the index, and for a grant if only the tracker is needed to tell what it must cover.

    Args:
        wish: the first job; None: the caller has only connected, and the default language model is looked for.
        network: as far as it is known.
        placer: knows where will be searched.
        index, grants: used by the job later.
        spawn: runs work that nobody waits for.
    """
    defaults = network.info.default_models
    if wish is None:
        if model := defaults.get(Task.LLM):
            _ask_index(Demand(Task.LLM, model), placer, index)
        return
    if wish.errand is None:
        demand = Demand(wish.task, wish.model or defaults.get(wish.task), wish.region, wish.limits)
        _ask_index(demand, placer, index)
    cost = _cost_known_early(wish, network)
    if cost is not None:
        spawn(_hold_one(grants, wish.task, cost))


def _ask_index(demand: Demand, placer: Placer, index: IndexAhead) -> None:
    """Begin to ask; not while it is unknown in which region a job must stay, for its own search asks for that one."""
    is_known, region = placer.region_now(demand)
    if is_known:
        index.begin(Wanted(demand.task, demand.model, region))


def ask_early(grants: GrantStore, wish: JobWish, network: Network) -> "asyncio.Task[None] | None":
    """Ask for a grant while nodes are looked for; None: one is held, or only the nodes tell what it must cover.

    The tracker may be far away: one after the other, a client's first job would wait for both.
    """
    cost = _cost_known_early(wish, network)
    if cost is None or grants.holds(wish.task, cost=cost):
        return None
    return asyncio.create_task(grants.hold(wish.task, cost=cost))


def _cost_known_early(wish: JobWish, network: Network) -> JobCost | None:
    """Return what a job can cost at most; None: somebody else pays, or only its node will tell."""
    if wish.errand is not None or network.info.prices.models:
        return None
    return JobCost.of(wish.task, wish.params)


async def _hold_one(grants: GrantStore, task: Task, cost: JobCost) -> None:
    with contextlib.suppress(GpunodeError):  # the job asks again, and its caller hears why there is none
        await grants.hold(task, cost=cost)
