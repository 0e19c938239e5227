"""API keys that were made before keys had scopes, ends and names."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from gpunode_tracker.api_keys import KeyState, KeyTerms
from gpunode_tracker.scopes import Scope
from gpunode_tracker.storage import migrate
from gpunode_tracker.storage.accounts import Account, public_key_id, secret_hash
from gpunode_tracker.storage.api_keys import holder_of_key, keys_after
from gpunode_tracker.storage.database import Database
from sqlalchemy import Connection, text

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT

OLD_KEYS = ("gpn_first", "gpn_second")


def _fill(connection: Connection) -> None:
    """Make the tables of that time, with an account and two keys in them."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "0002")
    account = "INSERT INTO accounts (id, name, promotional, created_at) VALUES ('a', 'Alice', false, :at)"
    connection.execute(text(account), {"at": START_AT})
    key = "INSERT INTO api_keys (key_hash, account_id, created_at) VALUES (:hash, 'a', :at)"
    for secret in OLD_KEYS:
        connection.execute(text(key), {"hash": secret_hash(secret), "at": START_AT})


@ON_BOTH
async def test_old_keys_go_on_working(empty_database_url: str) -> None:
    """For everything but administration, without an end; their ids follow from their hashes."""
    database = Database(empty_database_url)
    async with database.write() as connection:
        await connection.run_sync(_fill)
    await database.migrate()
    async with database.read() as connection:
        for secret in OLD_KEYS:
            holder = await holder_of_key(connection, secret)
            assert holder is not None
            assert holder.account == Account("a", "Alice", False, START_AT, key_id=public_key_id(secret))
            assert holder.key.terms == KeyTerms()
            assert holder.key.terms.good_for == set(Scope) - {Scope.ADMIN}
            assert holder.key.state(START_AT + 10**9) is KeyState.ACTIVE
        listed = await keys_after(connection, account_id="a", limit=9)
    assert sorted(key.id for key in listed) == sorted(public_key_id(secret) for secret in OLD_KEYS)
    await database.close()
