"""Who asks: an account by its API key, or a node by its worker token."""

from typing import Final

from aiohttp import hdrs, web
from multidict import istr

from gpunode_tracker.api_keys import ApiKey
from gpunode_tracker.app_keys import CALL, KEY_HOLDERS, NODES_BY_TOKEN, TRACKER
from gpunode_tracker.bans import BanKind
from gpunode_tracker.entries import account_name, node_name
from gpunode_tracker.errors import Forbidden, MissingScope, Unauthenticated
from gpunode_tracker.quotas import charge_identity, charge_key, note_wrong_key, refuse_guessers
from gpunode_tracker.scopes import Scope, scope_of
from gpunode_tracker.storage.accounts import Account
from gpunode_tracker.storage.api_keys import KeyHolder, holder_of_key
from gpunode_tracker.storage.nodes import StoredNode, node_of_token

WORKER_TOKEN_HEADER: Final = istr("X-Worker-Token")
_BEARER = "bearer "
_ACCOUNT: Final = BanKind.ACCOUNT  # an enumeration's members are looked up by Python code, and this with every request


async def account_of(request: web.Request, scope: Scope | None = None) -> Account:
    """Return the account whose API key the request carries, and count the request on key and account.

    ``key_id`` of the account names the key. scope: what the key must be good for; None: what the path needs.

    Raises:
        Unauthenticated: no such key, or it has ended. MissingScope: it is not good for this. Banned: the account is.
        TooManyRequests: the key, the account, or a guesser's address, asks too often.
    """
    return (await key_holder_of(request, scope)).account


async def key_holder_of(request: web.Request, scope: Scope | None = None) -> KeyHolder:
    """Return account and key of a request, checked and counted as in ``account_of``."""
    secret = _api_key(request)
    if not secret:
        raise Unauthenticated("An API key is needed: send the header 'Authorization: Bearer gpn_…'.")
    await refuse_guessers(request)
    app, call = request.app, request[CALL]
    holder = app[KEY_HOLDERS].known(secret) or await _find_holder(request, secret)
    if holder is None:
        await note_wrong_key(request)
        raise Unauthenticated("This API key is not known here. Check the key and the tracker's address.")
    tracker, key = app[TRACKER], holder.key
    call.key = key
    ended = key.why_not(tracker.clock()) if key.may_have_ended else None
    if ended is not None:
        raise Unauthenticated(ended, ended=True)
    terms = key.terms
    if terms.requests_per_minute is not None:
        await charge_key(request, key)
    await charge_identity(request, holder.payer)
    tracker.bans.refuse(_ACCOUNT, holder.account.id)
    needed = scope or scope_of(call.path)
    if needed not in terms.good_for:
        raise MissingScope(needed)
    return holder


async def node_of(request: web.Request) -> StoredNode:
    """Return the node whose worker token the request carries, and count the request on it.

    If the path names a peer, it must be that one.

    Raises:
        Unauthenticated: no such token. Forbidden: another node's. Banned: the node or its account is.
        TooManyRequests: the node, or a guesser's address, asks too often.
    """
    token = request.headers.get(WORKER_TOKEN_HEADER, "")
    if not token:
        raise Unauthenticated("A worker token is needed: send the header 'X-Worker-Token: gpw_…'.")
    await refuse_guessers(request)
    node = await _find_node(request, token)
    if node is None:
        await note_wrong_key(request)
        raise Unauthenticated("This worker token is not valid (any more). Register the node again.")
    await charge_identity(request, node_name(node.peer))
    refuse_banned_node(request, node)
    if request.match_info.get("peer", node.peer) != node.peer:
        raise Forbidden("This worker token belongs to another node.")
    return node


def refuse_banned_node(request: web.Request, node: StoredNode) -> None:
    """Refuse a node that is shut out, or whose account is.

    Raises:
        Banned: it is.
    """
    bans = request.app[TRACKER].bans
    bans.refuse(BanKind.NODE, node.peer)
    if node.account_id is not None:
        bans.refuse(BanKind.ACCOUNT, node.account_id)


async def owners_of(request: web.Request) -> tuple[str, Account | StoredNode]:
    """Return the ledger name of who asks, by worker token or API key, with the account or node."""
    if WORKER_TOKEN_HEADER in request.headers:
        node = await node_of(request)
        return node_name(node.peer), node
    account = await account_of(request)
    return account_name(account.id), account


async def sender_of(request: web.Request) -> str | None:
    """Return the ledger name of who sends, where a key or token is of no need; None: nobody that is known here.

    Raises:
        Banned: the account or node is.
    """
    token, secret = request.headers.get(WORKER_TOKEN_HEADER, ""), _api_key(request)
    if token:
        node = await _find_node(request, token)
        if node is not None:
            refuse_banned_node(request, node)
            return node_name(node.peer)
    elif secret:
        holder = await _find_holder(request, secret)
        tracker = request.app[TRACKER]
        if holder is not None and holder.key.why_not(tracker.clock()) is None:
            tracker.bans.refuse(BanKind.ACCOUNT, holder.account.id)
            return account_name(holder.account.id)
    return None


async def _find_holder(request: web.Request, secret: str) -> KeyHolder | None:
    async def look_up() -> KeyHolder | None:
        async with request.app[TRACKER].database.read() as connection:
            return await holder_of_key(connection, secret)

    return await request.app[KEY_HOLDERS].find(secret, look_up)


async def _find_node(request: web.Request, token: str) -> StoredNode | None:
    async def look_up() -> StoredNode | None:
        async with request.app[TRACKER].database.read() as connection:
            return await node_of_token(connection, token)

    return await request.app[NODES_BY_TOKEN].find(token, look_up)


def key_of(request: web.Request) -> ApiKey:
    """Return the API key that a request carries, which must have been found."""
    key = request[CALL].key
    assert key is not None  # noqa: S101 -- see the contract
    return key


def _api_key(request: web.Request) -> str:
    header = request.headers.get(hdrs.AUTHORIZATION, "")
    return header[len(_BEARER) :].strip() if header[: len(_BEARER)].lower() == _BEARER else ""
