"""Who asks."""

import asyncio

import pytest
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_tracker.storage.tables import api_keys, nodes
from sqlalchemy import select

from tests.tracker.conftest import World


async def test_secrets_are_stored_as_hashes(world: World) -> None:
    """Neither API keys nor worker tokens stand in the database."""
    _, key = await world.account()
    token = (await world.register(Identity.generate())).token
    async with world.tracker.database.read() as connection:
        stored = [*(await connection.execute(select(api_keys.c.key_hash))).scalars()]
        stored += (await connection.execute(select(nodes.c.token_hash))).scalars()
    assert {len(value) for value in stored} == {32}
    files = [path.read_bytes() for path in world.tracker.settings.data_dir.glob("tracker.db*")]
    assert not any(secret.encode() in data for secret in (key, token) for data in files)


async def test_keys_and_tokens_do_not_mix(world: World) -> None:
    """A worker token is no API key, and an API key is no worker token."""
    _, key = await world.account()
    token = (await world.register(Identity.generate())).token
    assert (await world.get(api.BALANCE_PATH, key=token)).status == 401
    assert (await world.get(api.BALANCE_PATH, token=key)).status == 401
    assert (await world.get(api.BALANCE_PATH, key=key)).status == 200
    assert (await world.get(api.BALANCE_PATH, token=token)).status == 200


@pytest.mark.parametrize("header", [b"Authorization: Bearer ", b"X-Worker-Token: "])
async def test_keys_that_are_not_text_are_unknown(world: World, header: bytes) -> None:
    """Bytes that are not UTF-8 in a header are refused like any wrong key."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.http.server.port)
    head = f"GET {api.BALANCE_PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
    writer.write(head + header + b"\xff\xfe\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    await writer.wait_closed()
