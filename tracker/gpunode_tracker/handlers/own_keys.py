"""An account's own API keys, managed by one of them that has the scope ``account``."""

from aiohttp import web
from gpunode_protocol.admin_api import KeyRequest, KeyRotation

from gpunode_tracker.app_keys import CALL, KEY_HOLDERS, TRACKER
from gpunode_tracker.audit import Actor
from gpunode_tracker.auth import key_holder_of
from gpunode_tracker.bodies import read_body
from gpunode_tracker.handlers.admin_keys import keys_page, made_key, rotated_key
from gpunode_tracker.key_desk import KeyDesk
from gpunode_tracker.queries import read_id


async def get_keys(request: web.Request) -> web.Response:
    """GET /api/v1/keys?cursor=&limit=: the account's keys, without their secrets."""
    desk, account_id = await _desk(request)
    return await keys_page(request, desk, account_id)


async def post_key(request: web.Request) -> web.Response:
    """POST /api/v1/keys: a new key, good for no more than the one that asks."""
    desk, account_id = await _desk(request)
    return await made_key(request, desk, account_id, await read_body(request, KeyRequest))


async def post_rotation(request: web.Request) -> web.Response:
    """POST /api/v1/keys/{key}/rotate: a new key in the place of an old one, which works for a while yet."""
    desk, _ = await _desk(request)
    return await rotated_key(request, desk, await read_body(request, KeyRotation))


async def delete_key(request: web.Request) -> web.Response:
    """DELETE /api/v1/keys/{key}: the key ends at once."""
    desk, _ = await _desk(request)
    key = await desk.revoke(read_id(request, "key"))
    request.app[KEY_HOLDERS].forget(key.id)
    return web.Response(status=204)


async def _desk(request: web.Request) -> tuple[KeyDesk, str]:
    holder = await key_holder_of(request)
    tracker = request.app[TRACKER]
    actor = Actor(f"key:{holder.key.id}", request[CALL].address)
    return KeyDesk(tracker.database, tracker.clock, actor, asking=holder.key), holder.account.id
