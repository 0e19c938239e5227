"""Models that nobody has named: a job may wait for one, but one account cannot make lanes of the queue without end.

Whoever looks at the queue takes a step for each lane, and a lane is there as long as a job waits in it. So jobs of
models that the network knows wait in any number, and those of other names in few lanes of each account: enough to wait
for a worker that has still to come.
"""

from typing import TYPE_CHECKING, Final

from gpunode._model_names import ALIASES
from gpunode_protocol.tasks import Task
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.errors import Conflict
from gpunode_tracker.storage.named_lanes import named_lanes, waits_in

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

MAX_KINDS: Final = 32
"""Of one account; a kind is type, region and model together. A policy: a client with some models for each region."""


async def is_known(tracker: "Tracker", task: Task, model: str) -> bool:
    """Return whether the prices, the network's defaults or somebody who lives name a model, exactly so.

    Or its name in the catalogue, where this is an alias in lower case. Not a shorter or longer form of its name, nor
    other letters: of these, anybody can make up as many as they want.
    """
    served, priced = await tracker.outlook.names(task), tracker.prices.models
    default = tracker.settings.default_models.get(task)
    names = model, ALIASES.get(model, model)
    return any(name in served or name in priced or name == default for name in names)


async def refuse_many_kinds(connection: AsyncConnection, account_id: str, lane: str) -> None:
    """Refuse a job for a model that is not known, if the account's jobs wait in many lanes already.

    Args:
        connection: in whose transaction the account's row is locked.
        lane: of the new job.

    Raises:
        Conflict: it is.
    """
    lanes = await named_lanes(connection, account_id, limit=MAX_KINDS)
    if len(lanes) >= MAX_KINDS and not await waits_in(connection, account_id, lane):
        raise Conflict(
            f"Nobody serves this model now, and jobs of {MAX_KINDS} kinds (type, region and model) wait already for "
            "this account. Name a model that is served, cancel some, or wait until some have ended."
        )
