"""What the operator's commands do, straight on the database; a running tracker picks it up within seconds."""

import secrets
import time
from collections.abc import AsyncIterator, Callable
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
from gpunode_tracker.sealing_key_file import (
    NOTICED_S,
    SEALING_KEYS_FILE,
    KeyFile,
    new_key,
    read_key_file,
    write_key_file,
)
from gpunode_tracker.storage import accounts, grants, ledger, nodes
from gpunode_tracker.storage.accounts import Account
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.sealed_values import count_sealed_with
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

    def prepare_sealing_key(self) -> KeyFile:
        """Add a key that the next rotation brings into use, so that the file can be copied to other trackers first.

        Raises:
            KeysUnusable: the file cannot be used. InvalidRequest: a key is prepared already.
        """
        return self._change_sealing_keys(lambda content: content.with_prepared(new_key()))

    def rotate_sealing_key(self) -> KeyFile:
        """Let the prepared key seal, or a new one; running trackers notice it and seal old values anew.

        Raises:
            KeysUnusable: the file cannot be used.
        """
        return self._change_sealing_keys(lambda content: content.rotated(new_key(), now=self._now))

    async def drop_old_sealing_keys(self) -> KeyFile:
        """Take the keys out of the file that seal nothing any more.

        Raises:
            KeysUnusable: the file cannot be used. InvalidRequest: values are still sealed with them, or may be.
        """
        content = read_key_file(self._sealing_path)
        old_ids = [key.id for key in content.old_keys]
        age_s = self._now - content.rotated_at
        if old_ids and age_s < NOTICED_S:
            raise InvalidRequest(
                f"The key was rotated {max(0, age_s)} s ago, and a running tracker may not have noticed it yet. Wait "
                f"until {NOTICED_S} s have passed."
            )
        async with self.database.read() as connection:
            count = await count_sealed_with(connection, old_ids) if old_ids else 0
        if count:
            raise InvalidRequest(
                f"{count} values in the database are still sealed with the old keys, so these are kept. A running "
                "tracker seals such values anew by itself; start it if it does not run, and try again later."
            )
        return self._change_sealing_keys(KeyFile.without_old_keys)

    def _change_sealing_keys(self, change: Callable[[KeyFile], KeyFile]) -> KeyFile:
        content = change(read_key_file(self._sealing_path))
        write_key_file(self._sealing_path, content)
        return content

    @property
    def _sealing_path(self) -> Path:
        return self.settings.data_dir / SEALING_KEYS_FILE

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
