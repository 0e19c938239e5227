"""Open registration, where the operator allows it; an account's own nodes."""

from aiohttp import web
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT
from gpunode_protocol.tracker_api import AccountReply, AccountRequest, OwnNodesReply

from gpunode_tracker.administration import Administration
from gpunode_tracker.app_keys import CALL, TRACKER
from gpunode_tracker.audit import Actor
from gpunode_tracker.auth import account_of
from gpunode_tracker.bodies import read_body, reply
from gpunode_tracker.errors import Forbidden
from gpunode_tracker.storage import nodes


async def post_account(request: web.Request) -> web.Response:
    """POST /api/v1/accounts: a promotional account for anybody; 403 unless the operator opened registration."""
    tracker = request.app[TRACKER]
    if not tracker.settings.open_registration:
        raise Forbidden("This tracker makes accounts only through its operator. Ask for one.")
    body = await read_body(request, AccountRequest)
    given = tracker.settings.initial_credits
    actor = Actor("anybody", request[CALL].address)
    admin = Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock, actor)
    account = await admin.create_account(body.name, credits_given=given, promotional=True)
    key = await admin.create_key(account.id)
    tracker.wake_sequencer.set()
    answer = AccountReply(account=account.id, api_key=key, spendable_microcredits=given * MICROCREDITS_PER_CREDIT)
    return reply(answer, status=201, no_store=True)


async def get_own_nodes(request: web.Request) -> web.Response:
    """GET /api/v1/accounts/self/nodes: the nodes that are linked to the account of the API key."""
    account = await account_of(request)
    async with request.app[TRACKER].database.read() as connection:
        return reply(OwnNodesReply(nodes=tuple(await nodes.peers_of_account(connection, account.id))), no_store=True)
