"""What a queued job may cost is set aside while it waits and runs, like a grant; the rest goes back at its end."""

import secrets
from dataclasses import dataclass
from typing import Final

from gpunode_protocol.grants import MAX_GRANT_LIFETIME_S, Cap, Confirmation, Grant, audience
from gpunode_protocol.identity import PeerId
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.entries import Bookkeeper, account_name, reserved_name
from gpunode_tracker.errors import InsufficientCredits
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.grants import (
    SETTLEMENT_PERIOD_S,
    StoredGrant,
    add_grant,
    find_grant,
    mark_returned,
    release_early,
)

RESERVED_S: Final = 24 * 3600
"""A reservation is for so long of waiting and running together."""


@dataclass(frozen=True)
class Reserver:
    """Reserves and returns inside of others' transactions.

    Args:
        client: peer id that signs requests and vouchers of queued jobs. network: its id. now: Unix seconds.
    """

    client: PeerId
    network: str
    now: int

    async def reserve(
        self, connection: AsyncConnection, account_id: str, task: str, microcredits: int, *, price_version: int
    ) -> str:
        """Set credits aside and return the reservation's ``jti``; the account must be locked.

        Raises:
            InsufficientCredits: the account has less.
        """
        balance = await ledger.balance(connection, account_name(account_id))
        if microcredits > balance:
            raise InsufficientCredits(balance_microcredits=balance, wanted_microcredits=microcredits)
        grant = StoredGrant(
            jti=secrets.token_hex(16),
            account_id=account_id,
            client=self.client,
            tasks=(task,),
            node_caps=None,
            reserved=microcredits,
            price_version=price_version,
            issued_at=self.now,
            expires_at=self.now + RESERVED_S,
            release_at=self.now + RESERVED_S + SETTLEMENT_PERIOD_S,
        )
        await add_grant(connection, grant)
        if microcredits:  # what costs nothing moves nothing
            await ledger.append(
                connection, Bookkeeper(self.network, self.now).reserve(account_id, grant.jti, microcredits)
            )
        return grant.jti

    async def give_back(self, connection: AsyncConnection, jti: str | None) -> None:
        """Return what is left of a reservation; a second time changes nothing."""
        grant = await find_grant(connection, jti, lock=True) if jti is not None else None
        if grant is None or grant.returned_at is not None:
            return
        left = await ledger.balance(connection, reserved_name(grant.jti))
        if left > 0:
            await ledger.append(
                connection, Bookkeeper(self.network, self.now).give_back(grant.account_id, grant.jti, left)
            )
        await mark_returned(connection, grant.jti, now=self.now)

    async def end_soon(self, connection: AsyncConnection, jti: str | None) -> None:
        """Let the rest of a reservation go back after the time in which late vouchers are paid."""
        if jti is not None:
            await release_early(connection, jti, at=self.now + SETTLEMENT_PERIOD_S)


def grant_for(reservation: StoredGrant, left: int, *, network: str, node: PeerId | None, now: int) -> Grant:
    """Return the claims of a token by which a node works for a reservation.

    Args:
        left: micro-credits of it.
        node: the only one that may use it, to which all that is left is promised; None = any, in order of arrival.
        now: Unix seconds.
    """
    return Grant(
        iss=audience(network),
        aud=audience(network),
        sub=secrets.token_hex(8),  # random: nodes must not recognise an account
        jti=reservation.jti,
        iat=now,
        exp=min(now + MAX_GRANT_LIFETIME_S, reservation.expires_at),
        cnf=Confirmation(peer=PeerId(reservation.client)),
        tasks=tuple(reservation.tasks),
        jobs=1,
        price=reservation.price_version,
        cap=Cap(open=left) if node is None else Cap(nodes={node: left}),
    )
