"""Who asks: an account by its API key, or a node by its worker token."""

from aiohttp import web

from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.entries import account_name, node_name
from gpunode_tracker.errors import Forbidden, Unauthenticated
from gpunode_tracker.storage.accounts import Account, account_of_key
from gpunode_tracker.storage.nodes import StoredNode, node_of_token

WORKER_TOKEN_HEADER = "X-Worker-Token"  # noqa: S105 -- the header's name
_BEARER = "bearer "


async def account_of(request: web.Request) -> Account:
    """Return the account whose API key the request carries.

    Raises:
        Unauthenticated: no such key.
    """
    header = request.headers.get("Authorization", "")
    if not header.lower().startswith(_BEARER):
        raise Unauthenticated("An API key is needed: send the header 'Authorization: Bearer gpn_…'.")
    async with request.app[TRACKER].database.read() as connection:
        account = await account_of_key(connection, header[len(_BEARER) :].strip())
    if account is None:
        raise Unauthenticated("This API key is not known here. Check the key and the tracker's address.")
    return account


async def node_of(request: web.Request) -> StoredNode:
    """Return the node whose worker token the request carries; if the path names a peer, it must be that one.

    Raises:
        Unauthenticated: no such token. Forbidden: another node's.
    """
    token = request.headers.get(WORKER_TOKEN_HEADER, "")
    async with request.app[TRACKER].database.read() as connection:
        node = await node_of_token(connection, token) if token else None
    if node is None:
        raise Unauthenticated("This worker token is not valid (any more). Register the node again.")
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
