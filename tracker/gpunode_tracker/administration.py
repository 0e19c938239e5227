"""What operators do, by command or by REST, straight on the database; a running tracker picks it up within seconds.

Everything that changes something leaves its line in the audit log, in the same transaction.
"""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunode_protocol.admin_api import MAX_CREDITS
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyset import KEY_LEAD_TIME_S, KeySet
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT
from gpunode_protocol.tracker_api import BalanceReply
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker import Clock
from gpunode_tracker import keys as tracker_keys
from gpunode_tracker.api_keys import KeyTerms
from gpunode_tracker.audit import OPERATOR, Action, Actor
from gpunode_tracker.balances import account_balance
from gpunode_tracker.ban_desk import BanDesk
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.entries import Bookkeeper, node_name
from gpunode_tracker.errors import InvalidRequest, NotFound
from gpunode_tracker.key_desk import KeyDesk, no_account
from gpunode_tracker.keys import KeyRing
from gpunode_tracker.network_keys import adopt
from gpunode_tracker.price_desk import PriceDesk
from gpunode_tracker.sealing import Sealer
from gpunode_tracker.sealing_desk import SealingDesk
from gpunode_tracker.sealing_key_file import SEALING_KEYS_FILE
from gpunode_tracker.storage import accounts, audit, grants, ledger, nodes
from gpunode_tracker.storage.accounts import Account
from gpunode_tracker.storage.database import Database
from gpunode_tracker.tracker import open_database


@dataclass(frozen=True)
class Administration:
    """Opened on a data folder, while the tracker runs or not; ``actor``: who acts, for the audit log."""

    settings: TrackerSettings
    database: Database
    keys: KeyRing
    clock: Clock
    actor: Actor = OPERATOR

    @property
    def api_keys(self) -> KeyDesk:
        """All accounts' API keys."""
        return KeyDesk(self.database, self.clock, self.actor)

    @property
    def bans(self) -> BanDesk:
        """Who is shut out."""
        return BanDesk(self.database, self.clock, self.actor)

    @property
    def prices(self) -> PriceDesk:
        """What work costs."""
        return PriceDesk(self.database, self.clock, self.actor)

    @property
    def sealing(self) -> SealingDesk:
        """The sealing keys."""
        return SealingDesk(self.settings.data_dir / SEALING_KEYS_FILE, self.database, self.clock, self.actor)

    async def create_account(self, name: str, *, credits_given: int, promotional: bool = False) -> Account:
        """Make an account with credits; return it.

        Raises:
            InvalidRequest: the name is empty, too long or not printable, or too many credits.
        """
        if not name.strip() or len(name) > 100 or not name.strip().isprintable():
            raise InvalidRequest("An account's name has 1 to 100 printable characters.")
        if credits_given > MAX_CREDITS:
            raise InvalidRequest(f"At most {MAX_CREDITS:,} credits can be given at once.")
        now = self._now
        account = Account(f"a{secrets.token_hex(8)}", name.strip(), promotional, now)
        async with self.database.write() as connection:
            await accounts.add_account(connection, account, created_at=now)
            if credits_given:
                entry = Bookkeeper(self.keys.network, now).issue(
                    account.id, credits_given * MICROCREDITS_PER_CREDIT, memo="initial credits"
                )
                await ledger.append(connection, entry)
            detail = {"name": account.name, "credits": credits_given, "promotional": promotional}
            await self._note(connection, Action.ACCOUNT_CREATED, f"account:{account.id}", detail)
        return account

    async def find_account(self, text: str) -> Account:
        """Return the account of this id or, if there is none, of this name.

        Raises:
            NotFound: no such account. InvalidRequest: several have this name.
        """
        async with self.database.read() as connection:
            by_id = await accounts.find_account(connection, text)
            found = [by_id] if by_id is not None else await accounts.accounts_named(connection, text.strip())
        if not found:
            raise no_account(text)
        if len(found) > 1:
            ids = ", ".join(account.id for account in found)
            raise InvalidRequest(f"{len(found)} accounts are named {text}. Give the id of the one you mean: {ids}.")
        return found[0]

    async def create_key(self, account_id: str, terms: KeyTerms | None = None) -> str:
        """Make an API key, good for everything but administration unless ``terms`` say more; return its secret.

        Raises:
            NotFound, InvalidRequest: as for ``KeyDesk.create``.
        """
        return (await self.api_keys.create(account_id, terms or KeyTerms())).secret

    async def issue(self, account_id: str, credits_given: int, *, memo: str = "") -> BalanceReply:
        """Give an account credits; return its balance after.

        Raises:
            NotFound: no such account. InvalidRequest: not a positive amount, or too much at once.
        """
        if credits_given <= 0:
            raise InvalidRequest("Issue a positive number of credits; what was issued cannot be taken back.")
        if credits_given > MAX_CREDITS:
            raise InvalidRequest(f"At most {MAX_CREDITS:,} credits can be given at once.")
        now = self._now
        async with self.database.write() as connection:
            account = await accounts.find_account(connection, account_id, lock=True)
            if account is None:
                raise no_account(account_id)
            amount = credits_given * MICROCREDITS_PER_CREDIT
            await ledger.append(connection, Bookkeeper(self.keys.network, now).issue(account_id, amount, memo=memo))
            detail = {"credits": credits_given, "memo": memo}
            await self._note(connection, Action.CREDITS_ISSUED, f"account:{account_id}", detail)
            return await account_balance(connection, account)

    async def revoke_grant(self, jti: str) -> None:
        """End a grant now; what was done under it until then is still paid for two hours.

        Raises:
            NotFound: no live grant has this id.
        """
        async with self.database.write() as connection:
            if not await grants.revoke_grant(connection, jti, now=self._now):
                raise NotFound(f"There is no live grant {jti}: it was never issued here, has expired or was revoked.")
            await self._note(connection, Action.GRANT_REVOKED, f"grant:{jti}", {})

    async def revoke_node(self, peer: str) -> None:
        """Shut a node out for good; its earnings stay.

        Raises:
            NotFound: no such node.
        """
        async with self.database.write() as connection:
            if not await nodes.revoke_node(connection, peer, now=self._now):
                raise NotFound(f"There is no node {peer} registered here.")
            await self._note(connection, Action.NODE_REVOKED, node_name(peer), {})

    async def rotate_key(self, *, root_key: Path | None, at_once: bool) -> KeySet:
        """Publish a new signing key; it takes over in two hours, or at once."""
        lead_time_s = 0 if at_once else KEY_LEAD_TIME_S
        return await tracker_keys.rotate(
            self.database,
            self.settings.data_dir,
            root_key=root_key,
            now=self.clock(),
            lead_time_s=lead_time_s,
            actor=self.actor,
        )

    async def adopt_keys(self) -> tuple[Identity, Sealer]:
        """Let this data folder's dispatch and sealing keys count from now on; see ``network_keys.adopt``."""
        async with self.database.write() as connection:
            return await adopt(connection, self.settings.data_dir, self.actor, now=self._now)

    async def balances(self) -> list[tuple[Account, BalanceReply]]:
        """Return all accounts with their balances."""
        async with self.database.read() as connection:
            found = await accounts.all_accounts(connection)
            return [(account, await account_balance(connection, account)) for account in found]

    async def _note(self, connection: AsyncConnection, action: Action, subject: str, detail: dict[str, Any]) -> None:
        await audit.record(connection, self.actor.name, action, subject, detail, self.actor.address, at=self._now)

    @property
    def _now(self) -> int:
        return int(self.clock())


@asynccontextmanager
async def administration(settings: TrackerSettings, clock: Clock = time.time) -> AsyncIterator[Administration]:
    """Open the data folder of a tracker that was started once.

    Raises:
        NotFound: it was not; nothing was made.
    """
    if settings.database_url is None and not settings.sqlite_path.exists():
        raise tracker_keys.no_tracker(settings.data_dir)
    database = await open_database(settings)
    try:
        keys = await tracker_keys.open_keys(database, settings.data_dir, now=clock(), may_create=False)
        yield Administration(settings, database, keys, clock)
    finally:
        await database.close()
