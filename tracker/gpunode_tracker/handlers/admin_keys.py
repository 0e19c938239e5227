"""Administration of API keys; what is answered is the same for an account's own ones."""

from aiohttp import web
from gpunode_protocol.admin_api import KeyRequest, KeyRotation, KeysPage, NewKey, RotatedKey

from gpunode_tracker.admin_access import admin_of
from gpunode_tracker.admin_views import key_terms, key_view
from gpunode_tracker.app_keys import KEY_HOLDERS, TRACKER
from gpunode_tracker.bodies import read_body, reply
from gpunode_tracker.key_desk import KeyDesk, no_account
from gpunode_tracker.queries import read_id, read_limit, read_text
from gpunode_tracker.storage.accounts import find_account

MAX_ID_CHARS = 64


async def get_keys(request: web.Request) -> web.Response:
    """GET /api/v1/admin/keys?cursor=&limit=: all keys, without their secrets."""
    desk = (await admin_of(request)).api_keys
    return await keys_page(request, desk, None)


async def get_account_keys(request: web.Request) -> web.Response:
    """GET /api/v1/admin/accounts/{account}/keys?cursor=&limit=: an account's keys."""
    admin, account_id = await admin_of(request), read_id(request, "account")
    async with admin.database.read() as connection:
        if await find_account(connection, account_id) is None:
            raise no_account(account_id)
    return await keys_page(request, admin.api_keys, account_id)


async def post_key(request: web.Request) -> web.Response:
    """POST /api/v1/admin/accounts/{account}/keys: a new key of an account, with any scopes."""
    desk = (await admin_of(request)).api_keys
    return await made_key(request, desk, read_id(request, "account"), await read_body(request, KeyRequest))


async def post_rotation(request: web.Request) -> web.Response:
    """POST /api/v1/admin/keys/{key}/rotate: a new key in the place of an old one, which works for a while yet."""
    desk = (await admin_of(request)).api_keys
    return await rotated_key(request, desk, await read_body(request, KeyRotation))


async def delete_key(request: web.Request) -> web.Response:
    """DELETE /api/v1/admin/keys/{key}: the key ends at once."""
    desk = (await admin_of(request)).api_keys
    key = await desk.revoke(read_id(request, "key"))
    request.app[KEY_HOLDERS].forget(key.id)
    return web.Response(status=204)


async def keys_page(request: web.Request, desk: KeyDesk, account_id: str | None) -> web.Response:
    """Answer with keys as the query asks for them."""
    limit = read_limit(request)
    after = read_text(request, "cursor", max_chars=MAX_ID_CHARS) or ""
    found = await desk.page(account_id=account_id, after_id=after, limit=limit + 1)
    now = request.app[TRACKER].clock()
    page = tuple(key_view(key, now) for key in found[:limit])
    return reply(KeysPage(keys=page, next_cursor=page[-1].key if len(found) > limit else None), no_store=True)


async def made_key(request: web.Request, desk: KeyDesk, account_id: str, body: KeyRequest) -> web.Response:
    """Make a key, and answer with it."""
    made = await desk.create(account_id, key_terms(body))
    view = key_view(made.key, request.app[TRACKER].clock())
    return reply(NewKey(key=view, api_key=made.secret), status=201, no_store=True)


async def rotated_key(request: web.Request, desk: KeyDesk, body: KeyRotation) -> web.Response:
    """Replace the key that the path names, and answer with the new one."""
    made, old = await desk.rotate(read_id(request, "key"), grace_s=body.grace_s)
    request.app[KEY_HOLDERS].forget(old.id)
    now = request.app[TRACKER].clock()
    answer = RotatedKey(key=key_view(made.key, now), api_key=made.secret, old=key_view(old, now))
    return reply(answer, status=201, no_store=True)
