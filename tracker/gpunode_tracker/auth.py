"""Who asks: an account by its API key, or a node by its worker token."""

from aiohttp import web

from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.entries import account_name, node_name
from gpunode_tracker.errors import Forbidden, Unauthenticated
from gpunode_tracker.quotas import charge_identity, note_wrong_key, refuse_guessers
from gpunode_tracker.storage.accounts import Account, account_of_key, public_key_id
from gpunode_tracker.storage.nodes import StoredNode, node_of_token

WORKER_TOKEN_HEADER = "X-Worker-Token"  # noqa: S105 -- the header's name
_BEARER = "bearer "


async def account_of(request: web.Request) -> Account:
    """Return the account whose API key the request carries, and count the request on it.

    Raises:
        Unauthenticated: no such key. TooManyRequests: the account, or a guesser's address, asks too often.
    """
    key = _api_key(request)
    if not key:
        raise Unauthenticated("An API key is needed: send the header 'Authorization: Bearer gpn_…'.")
    await refuse_guessers(request)
    async with request.app[TRACKER].database.read() as connection:
        account = await account_of_key(connection, key)
    if account is None:
        await note_wrong_key(request)
        raise Unauthenticated("This API key is not known here. Check the key and the tracker's address.")
    await charge_identity(request, account_name(account.id))
    return account


async def node_of(request: web.Request) -> StoredNode:
    """Return the node whose worker token the request carries, and count the request on it.

    If the path names a peer, it must be that one.

    Raises:
        Unauthenticated: no such token. Forbidden: another node's.
        TooManyRequests: the node, or a guesser's address, asks too often.
    """
    token = request.headers.get(WORKER_TOKEN_HEADER, "")
    if not token:
        raise Unauthenticated("A worker token is needed: send the header 'X-Worker-Token: gpw_…'.")
    await refuse_guessers(request)
    async with request.app[TRACKER].database.read() as connection:
        node = await node_of_token(connection, token)
    if node is None:
        await note_wrong_key(request)
        raise Unauthenticated("This worker token is not valid (any more). Register the node again.")
    await charge_identity(request, node_name(node.peer))
    if request.match_info.get("peer", node.peer) != node.peer:
        raise Forbidden("This worker token belongs to another node.")
    return node


async def owners_of(request: web.Request) -> tuple[str, Account | StoredNode]:
    """Return the ledger name of who asks, by worker token or API key, with the account or node."""
    if WORKER_TOKEN_HEADER in request.headers:
        node = await node_of(request)
        return node_name(node.peer), node
    account = await account_of(request)
    return account_name(account.id), account


async def sender_of(request: web.Request) -> str | None:
    """Return the ledger name of who sends, where a key or token is of no need; None: nobody that is known here."""
    token, key = request.headers.get(WORKER_TOKEN_HEADER, ""), _api_key(request)
    if not token and not key:
        return None
    async with request.app[TRACKER].database.read() as connection:
        if token:
            node = await node_of_token(connection, token)
            return node_name(node.peer) if node is not None else None
        account = await account_of_key(connection, key)
        return account_name(account.id) if account is not None else None


def key_id_of(request: web.Request) -> str:
    """Return the public id of the API key that a request carries, which must have been found."""
    return public_key_id(_api_key(request))


def _api_key(request: web.Request) -> str:
    header = request.headers.get("Authorization", "")
    return header[len(_BEARER) :].strip() if header.lower().startswith(_BEARER) else ""
