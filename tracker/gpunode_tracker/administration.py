"""What the operator's commands do, straight on the database; a running tracker picks it up within seconds."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gpunode_protocol.keyset import KEY_LEAD_TIME_S, KeySet
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT
from gpunode_protocol.tracker_api import BalanceReply

from gpunode_tracker import Clock
from gpunode_tracker import keys as tracker_keys
from gpunode_tracker.balances import account_balance
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.entries import Bookkeeper
from gpunode_tracker.errors import InvalidRequest, NotFound
from gpunode_tracker.keys import KeyRing
from gpunode_tracker.storage import accounts, grants, ledger, nodes
from gpunode_tracker.storage.accounts import Account
from gpunode_tracker.storage.database import Database
from gpunode_tracker.tracker import open_database

MAX_CREDITS = 10**9
"""Credits given at once at most: balances stay far from 64 bits of micro-credits."""


@dataclass(frozen=True)
class Administration:
    """Opened on a data folder, while the tracker runs or not."""

    settings: TrackerSettings
    database: Database
    keys: KeyRing
    clock: Clock

    async def create_account(self, name: str, *, credits_given: int, promotional: bool = False) -> Account:
        """Make an account with credits; return it.

        Raises:
            InvalidRequest: the name is empty, too long or not printable, or too many credits.
        """
        if not name.strip() or len(name) > 100 or not name.strip().isprintable():
            raise InvalidRequest("An account's name has 1 to 100 printable characters.")
        if credits_given > MAX_CREDITS:
            raise InvalidRequest(f"At most {MAX_CREDITS:,} credits can be given at once.")
        account = Account(f"a{secrets.token_hex(8)}", name.strip(), promotional)
        now = self._now
        async with self.database.write() as connection:
            await accounts.add_account(connection, account, created_at=now)
            if credits_given:
                entry = Bookkeeper(self.keys.network, now).issue(
                    account.id, credits_given * MICROCREDITS_PER_CREDIT, memo="initial credits"
                )
                await ledger.append(connection, entry)
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
            raise _no_account(text)
        if len(found) > 1:
            ids = ", ".join(account.id for account in found)
            raise InvalidRequest(f"{len(found)} accounts are named {text}. Give the id of the one you mean: {ids}.")
        return found[0]

    async def create_key(self, account_id: str) -> str:
        """Make an API key; it can be shown only now.

        Raises:
            NotFound: no such account.
        """
        key = accounts.API_KEY_PREFIX + secrets.token_urlsafe(32)
        async with self.database.write() as connection:
            if await accounts.find_account(connection, account_id) is None:
                raise _no_account(account_id)
            await accounts.add_api_key(connection, account_id, key, created_at=self._now)
        return key

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
                raise _no_account(account_id)
            amount = credits_given * MICROCREDITS_PER_CREDIT
            await ledger.append(connection, Bookkeeper(self.keys.network, now).issue(account_id, amount, memo=memo))
            return await account_balance(connection, account)

    async def revoke_grant(self, jti: str) -> None:
        """End a grant now; what was done under it until then is still paid for two hours.

        Raises:
            NotFound: no live grant has this id.
        """
        async with self.database.write() as connection:
            if not await grants.revoke_grant(connection, jti, now=self._now):
                raise NotFound(f"There is no live grant {jti}: it was never issued here, has expired or was revoked.")

    async def revoke_node(self, peer: str) -> None:
        """Shut a node out for good; its earnings stay.

        Raises:
            NotFound: no such node.
        """
        async with self.database.write() as connection:
            if not await nodes.revoke_node(connection, peer, now=self._now):
                raise NotFound(f"There is no node {peer} registered here.")

    async def rotate_key(self, *, root_key: Path | None, at_once: bool) -> KeySet:
        """Publish a new signing key; it takes over in two hours, or at once."""
        lead_time_s = 0 if at_once else KEY_LEAD_TIME_S
        return await tracker_keys.rotate(
            self.database, self.settings.data_dir, root_key=root_key, now=self.clock(), lead_time_s=lead_time_s
        )

    @property
    def _now(self) -> int:
        return int(self.clock())

    async def balances(self) -> list[tuple[Account, BalanceReply]]:
        """Return all accounts with their balances."""
        async with self.database.read() as connection:
            found = await accounts.all_accounts(connection)
            return [(account, await account_balance(connection, account)) for account in found]


def _no_account(text: str) -> NotFound:
    return NotFound(f"There is no account {text}. 'gpunode tracker show' lists all.")


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
