"""Administration of accounts: made, listed, shown, given credits."""

from aiohttp import web
from gpunode_protocol.admin_api import AccountCreation, AccountDetails, AccountsPage, CreditsOrder

from gpunode_tracker.admin_access import admin_of
from gpunode_tracker.admin_views import account_view, ban_view
from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.balances import account_balance
from gpunode_tracker.bans import BanKind
from gpunode_tracker.bodies import read_body, reply
from gpunode_tracker.key_desk import no_account
from gpunode_tracker.queries import read_id, read_limit, read_text
from gpunode_tracker.storage import accounts, api_keys
from gpunode_tracker.tracker import Tracker

MAX_NAME_CHARS = 100


async def get_accounts(request: web.Request) -> web.Response:
    """GET /api/v1/admin/accounts?name=&cursor=&limit=: all accounts by id; name: those of exactly this name."""
    await admin_of(request)
    limit = read_limit(request)
    after = read_text(request, "cursor", max_chars=MAX_NAME_CHARS) or ""
    name = read_text(request, "name", max_chars=MAX_NAME_CHARS)
    async with request.app[TRACKER].database.read() as connection:
        found = await accounts.accounts_after(connection, after, name=name, limit=limit + 1)
    page = tuple(account_view(account) for account in found[:limit])
    cursor = page[-1].account if len(found) > limit else None
    return reply(AccountsPage(accounts=page, next_cursor=cursor), no_store=True)


async def post_account(request: web.Request) -> web.Response:
    """POST /api/v1/admin/accounts: a new account with its first credits; its key is made by another call."""
    admin = await admin_of(request)
    body = await read_body(request, AccountCreation)
    tracker = request.app[TRACKER]
    given = tracker.settings.initial_credits if body.credits is None else body.credits
    account = await admin.create_account(body.name, credits_given=given, promotional=body.promotional)
    tracker.wake_sequencer.set()
    return reply(await _details(tracker, account.id), status=201, no_store=True)


async def get_account(request: web.Request) -> web.Response:
    """GET /api/v1/admin/accounts/{account}: an account with its balances."""
    await admin_of(request)
    return reply(await _details(request.app[TRACKER], read_id(request, "account")), no_store=True)


async def post_credits(request: web.Request) -> web.Response:
    """POST /api/v1/admin/accounts/{account}/credits: credits on top; they cannot be taken back."""
    admin = await admin_of(request)
    body = await read_body(request, CreditsOrder)
    account_id, tracker = read_id(request, "account"), request.app[TRACKER]
    await admin.issue(account_id, body.credits, memo=body.memo)
    tracker.wake_sequencer.set()
    return reply(await _details(tracker, account_id), status=201, no_store=True)


async def _details(tracker: Tracker, account_id: str) -> AccountDetails:
    async with tracker.database.read() as connection:
        account = await accounts.find_account(connection, account_id)
        if account is None:
            raise no_account(account_id)
        balance = await account_balance(connection, account)
        keys = await api_keys.count_keys(connection, account.id, now=tracker.now)
    ban = tracker.bans.find(BanKind.ACCOUNT, account.id)
    view = None if ban is None else ban_view(ban)
    return AccountDetails(account=account_view(account), balance=balance, keys=keys, ban=view)
