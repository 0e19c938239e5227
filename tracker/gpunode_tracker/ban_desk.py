"""Shutting out and letting in again, each with its line in the audit log."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gpunode_protocol.errors import InvalidPeerId
from gpunode_protocol.identity import parse_peer_id
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker import Clock
from gpunode_tracker.audit import Action, Actor
from gpunode_tracker.bans import Ban, BanKind, read_network
from gpunode_tracker.errors import InvalidRequest, NotFound
from gpunode_tracker.key_desk import no_account
from gpunode_tracker.storage import accounts, audit, bans, grants, nodes
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.locks import node_lock, take

MAX_BANS: Final = 10_000
"""All of them are held in memory by every process of the tracker. Networks take the place of many addresses."""
WIDEST_BITS: Final = {4: 8, 6: 16}
"""By IP version: a network with a shorter prefix is most of the world, and its ban a mistake."""


@dataclass(frozen=True)
class BanDesk:
    """The bans of one tracker.

    Args:
        database: where they are kept.
        clock: Unix seconds.
        actor: who acts.
    """

    database: Database
    clock: Clock
    actor: Actor

    async def place(self, kind: BanKind, subject: str, reason: str, *, until: int | None = None) -> Ban:
        """Shut somebody out; return the ban as it is kept. An earlier one of the same subject is replaced.

        An account's grants end, and a node's certificates: others hear of it with their next heartbeat. Jobs that were
        queued before run to their end, they are paid for.

        Args:
            until: Unix seconds; None = until it is lifted.

        Raises:
            NotFound: no such account. InvalidRequest: not what the kind asks for, no reason, an end that is over, or
            too many bans.
        """
        now = int(self.clock())
        if not reason.strip() or not reason.isprintable():
            raise InvalidRequest("A ban needs a reason in one line; whom it concerns gets to read it.")
        if until is not None and until <= now:
            raise InvalidRequest("The ban would be over already. Give an end in the future, or none.")
        ban = Ban(kind, normal_subject(kind, subject), reason.strip(), now, until)
        async with self.database.write() as connection:
            if await bans.find_ban(connection, kind, ban.subject) is None:
                await self._refuse_too_many(connection, now)
            await self._end_what_is_out(connection, ban)
            await bans.save_ban(connection, ban)
            await self._note(connection, Action.BANNED, ban, {"reason": ban.reason, "until": until})
        return ban

    async def lift(self, kind: BanKind, subject: str) -> None:
        """Let somebody in again.

        Raises:
            NotFound: there is no such ban.
        """
        subject = normal_subject(kind, subject)
        async with self.database.write() as connection:
            found = await bans.find_ban(connection, kind, subject)
            if found is None:
                raise NotFound(f"There is no ban of the {kind} {subject}. 'gpunode tracker bans' lists all.")
            await bans.lift_ban(connection, kind, subject)
            await self._note(connection, Action.BAN_LIFTED, found, {"reason": found.reason})

    async def page(self, after: tuple[str, str] = ("", ""), *, limit: int) -> Sequence[Ban]:
        """Return bans in force, by kind and subject, those after one."""
        async with self.database.read() as connection:
            return await bans.bans_after(connection, *after, now=int(self.clock()), limit=limit)

    async def _refuse_too_many(self, connection: AsyncConnection, now: int) -> None:
        if await bans.count_bans(connection, now=now) >= MAX_BANS:
            raise InvalidRequest(f"There are {MAX_BANS:,} bans already. Lift some, or ban networks instead.")

    async def _end_what_is_out(self, connection: AsyncConnection, ban: Ban) -> None:
        """End what was signed for the subject and would go on counting elsewhere."""
        match ban.kind:
            case BanKind.ACCOUNT:
                if await accounts.find_account(connection, ban.subject, lock=True) is None:
                    raise no_account(ban.subject)
                await grants.revoke_direct_grants(connection, ban.subject, now=ban.created_at)
            case BanKind.NODE:
                await take(connection, node_lock(ban.subject))
                await nodes.find_node(connection, ban.subject, lock=True)  # who certifies it meanwhile locks it too
                await nodes.revoke_certificates(connection, ban.subject, now=ban.created_at)
            case BanKind.ADDRESS | BanKind.WORKER:
                pass

    async def _note(
        self, connection: AsyncConnection, action: Action, ban: Ban, detail: dict[str, str | int | None]
    ) -> None:
        await audit.record(
            connection,
            self.actor.name,
            action,
            f"{ban.kind}:{ban.subject}",
            detail,
            self.actor.address,
            at=int(self.clock()),
        )


def normal_subject(kind: BanKind, subject: str) -> str:
    """Return a subject in the one form in which it is kept and asked for.

    Raises:
        InvalidRequest: not what the kind asks for.
    """
    match kind:
        case BanKind.ACCOUNT:
            return subject.strip()
        case BanKind.ADDRESS:
            return _network(subject)
        case BanKind.WORKER:
            try:
                return str(UUID(subject.strip()))
            except ValueError as error:
                raise InvalidRequest("A worker is named by its id, a UUID.") from error
        case BanKind.NODE:
            try:
                return parse_peer_id(subject.strip())
            except InvalidPeerId as error:
                raise InvalidRequest("A node is named by its peer id; one looks like 12D3KooW…") from error


def _network(text: str) -> str:
    try:
        network = read_network(text)
    except ValueError as error:
        raise InvalidRequest(
            "Give an address, or a network without host bits, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/48."
        ) from error
    widest = WIDEST_BITS[network.version]
    if network.prefixlen < widest:
        raise InvalidRequest(
            f"A network of /{network.prefixlen} is too much of the world; the widest that can be shut out is /{widest}."
        )
    is_one = isinstance(network, ipaddress.IPv4Network) and network.prefixlen == network.max_prefixlen
    return str(network.network_address if is_one else network)
