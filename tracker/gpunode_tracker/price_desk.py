"""Publishing prices, with a line in the audit log. Jobs are paid by the table that their grant names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpunode_protocol.admin_api import MAX_MODEL_PRICES, MAX_UNIT_MICROCREDITS
from gpunode_protocol.prices import Price, PriceTable
from gpunode_protocol.tasks import Task

from gpunode_tracker import Clock
from gpunode_tracker.audit import Action, Actor
from gpunode_tracker.errors import Conflict, InvalidRequest
from gpunode_tracker.storage import audit, prices
from gpunode_tracker.storage.database import Database


@dataclass(frozen=True)
class PriceDesk:
    """The prices of one tracker.

    Args:
        database: where they are kept.
        clock: Unix seconds.
        actor: who acts.
    """

    database: Database
    clock: Clock
    actor: Actor

    async def in_force(self) -> PriceTable:
        """Return the newest table."""
        async with self.database.write() as connection:
            return await prices.ensure_prices(connection)

    async def history(self, *, before_version: int, limit: int) -> Sequence[PriceTable]:
        """Return tables, newest first, those before a version."""
        async with self.database.read() as connection:
            return await prices.prices_before(connection, before_version, limit=limit)

    async def publish(
        self, tasks: Mapping[str, Price], models: Mapping[str, Price], *, replaces: int | None = None
    ) -> PriceTable:
        """Publish a whole new table; grants that are issued from now on name it.

        Args:
            replaces: version that must be in force; None = whichever is.

        Raises:
            InvalidRequest: a task has no price, or a price is too high. Conflict: another version is in force.
        """
        _check(tasks, models)
        async with self.database.write() as connection:
            newest = await prices.ensure_prices(connection)
            if replaces is not None and newest.version != replaces:
                raise _conflict(newest.version)
            table = PriceTable(version=newest.version + 1, tasks=dict(tasks), models=dict(models))
            if not await prices.add_prices(connection, table):
                raise _conflict(table.version)
            detail = {"version": table.version, "replaces": newest.version}
            actor, subject = self.actor, f"prices:{table.version}"
            await audit.record(
                connection, actor.name, Action.PRICES_PUBLISHED, subject, detail, actor.address, at=int(self.clock())
            )
        return table


def _check(tasks: Mapping[str, Price], models: Mapping[str, Price]) -> None:
    missing = [str(task) for task in Task if task not in tasks]
    if missing or len(tasks) > len(Task):
        raise InvalidRequest(f"Give a price for each of the tasks {', '.join(Task)}; for models put them under models.")
    if len(models) > MAX_MODEL_PRICES:
        raise InvalidRequest(f"At most {MAX_MODEL_PRICES} models can have prices of their own.")
    given = [*tasks.values(), *models.values()]
    if max(max(price.input_microcredits, price.output_microcredits) for price in given) > MAX_UNIT_MICROCREDITS:
        raise InvalidRequest(f"A unit costs at most {MAX_UNIT_MICROCREDITS:,} micro-credits.")


def _conflict(version: int) -> Conflict:
    return Conflict(
        f"Version {version} of the prices is in force: somebody published it meanwhile. Nothing was changed; look at "
        "it, and publish yours anew if it still holds."
    )
