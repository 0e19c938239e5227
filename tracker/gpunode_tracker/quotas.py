"""The budgets of a request: which ones it is counted on, and what its answer says of them.

``RateLimit-Policy`` and ``RateLimit`` are those of the IETF's draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Final

from aiohttp import web
from gpunode_protocol import admin_api, jobs_api
from gpunode_protocol import tracker_api as api
from multidict import istr

from gpunode_tracker.api_keys import ApiKey
from gpunode_tracker.app_keys import CALL
from gpunode_tracker.limits import Budget
from gpunode_tracker.request_guard import Call, Charge, refusal

ADDRESS_BUDGETS: Final[Mapping[tuple[str, str], Budget]] = {
    ("GET", api.NODES_PATH): Budget.INDEX,
    ("POST", api.CHALLENGE_PATH): Budget.CHALLENGES,
    ("POST", api.REGISTER_PATH): Budget.REGISTRATIONS,
    ("POST", api.ACCOUNTS_PATH): Budget.ACCOUNTS,
    ("POST", jobs_api.WORKER_REGISTER_PATH): Budget.REGISTRATIONS,
}
"""What is counted by address, beside ``Budget.ADDRESS``."""
IDENTITY_BUDGETS: Final[Mapping[tuple[str, str], Budget]] = {
    ("POST", api.HEARTBEAT_PATH): Budget.HEARTBEATS,
    ("POST", api.LINK_PATH): Budget.SUBMITS,
    ("POST", api.GRANTS_PATH): Budget.SUBMITS,
    ("POST", api.REPORTS_PATH): Budget.SUBMITS,
    ("POST", api.SETTLEMENTS_PATH): Budget.SETTLEMENTS,
    ("POST", jobs_api.WORKER_HEARTBEAT_PATH): Budget.HEARTBEATS,
    ("GET", jobs_api.NEXT_JOB_PATH): Budget.WORK,
    ("POST", jobs_api.JOB_EVENTS_PATH): Budget.WORK,
    ("POST", jobs_api.COMPLETE_PATH): Budget.WORK,
    ("POST", jobs_api.WORKER_TOKEN_PATH): Budget.SUBMITS,
    ("POST", jobs_api.WORKER_MAINTENANCE_PATH): Budget.SUBMITS,
    ("POST", jobs_api.JOBS_PATH): Budget.SUBMITS,
    ("POST", jobs_api.SYNC_JOB_PATH): Budget.SUBMITS,
    ("POST", admin_api.KEYS_PATH): Budget.SUBMITS,
    ("POST", admin_api.KEY_ROTATION_PATH): Budget.SUBMITS,
    ("DELETE", admin_api.KEY_PATH): Budget.SUBMITS,
}
"""What is counted by account or node; all else counts as ``Budget.LOOKUPS``."""

# an enumeration's members are looked up by Python code, and these with every request
_OF_ADDRESS: Final = Budget.ADDRESS
_OF_LOOKUPS: Final = Budget.LOOKUPS
_OF_GUESSERS: Final = Budget.FAILED_AUTHENTICATIONS
_POLICY_HEADER: Final = istr("RateLimit-Policy")
_LIMIT_HEADER: Final = istr("RateLimit")


async def charge_address(call: Call, budget: Budget | None) -> None:
    """Count a request on its address. budget: of ``ADDRESS_BUDGETS``, if its route has one.

    Raises:
        TooManyRequests: the address has used up what it may ask for.
    """
    if not _charge_now(call, _OF_ADDRESS, call.holder):
        await _charge(call, _OF_ADDRESS, call.holder)
    if budget is not None and not _charge_now(call, budget, call.holder):
        await _charge(call, budget, call.holder)


async def charge_identity(request: web.Request, name: str) -> None:
    """Count an authenticated request on its account or node; ``name``: the ledger's.

    Raises:
        TooManyRequests: it has used up what it may ask for.
    """
    call = request[CALL]
    budget = IDENTITY_BUDGETS.get((request.method, call.path), _OF_LOOKUPS)
    if not _charge_now(call, budget, name):
        await _charge(call, budget, name)


async def charge_key(request: web.Request, key: ApiKey) -> None:
    """Count a request on its key, if that has a limit of its own.

    Raises:
        TooManyRequests: the key has used it up.
    """
    limit = key.terms.requests_per_minute
    if limit is not None:
        call = request[CALL]
        _note(call, await call.guard.charge_key(key.id, limit))


async def charge_settlement(request: web.Request, name: str | None) -> None:
    """Count a batch on whom it comes from, or on the address if nobody knows; ``name``: as above.

    Raises:
        TooManyRequests: as above.
    """
    if name is None:
        call = request[CALL]
        await _charge(call, Budget.ANONYMOUS_SETTLEMENTS, call.holder)
    else:
        await charge_identity(request, name)


async def charge_items(request: web.Request, name: str | None, count: int) -> None:
    """Count a batch's items, likewise."""
    call = request[CALL]
    await _charge(call, Budget.SETTLEMENT_ITEMS, name or call.holder, count)


async def refuse_guessers(request: web.Request) -> None:
    """Refuse to look at a key or token of an address that has shown too many wrong ones.

    Raises:
        TooManyRequests: of this address no more are looked at for a while, not even right ones.
    """
    call = request[CALL]
    guard = call.guard
    if guard.has_full_bucket(_OF_GUESSERS, call.holder):
        return
    charge = await guard.charge(_OF_GUESSERS, call.holder, 0)
    if not charge.decision.allowed:  # whoever shows a right key need not hear of a budget for wrong ones
        _note(call, charge)


async def note_wrong_key(request: web.Request) -> None:
    """Count a wrong key or token."""
    call = request[CALL]
    call.charges.append(await call.guard.charge(_OF_GUESSERS, call.holder))


def _charge_now(call: Call, budget: Budget, holder: str) -> bool:
    """Charge without waiting; return False if somebody else has to be asked, see ``_charge``.

    Most trackers share nothing, and every request comes here twice.
    """
    charge = call.guard.charge_now(budget, holder)
    if charge is None:
        return False
    _note(call, charge)
    return True


async def _charge(call: Call, budget: Budget, holder: str, cost: int = 1) -> None:
    _note(call, await call.guard.charge(budget, holder, cost))


def _note(call: Call, charge: Charge) -> None:
    call.charges.append(charge)
    if not charge.decision.allowed:
        raise refusal(charge)


def hold_body(request: web.Request, count: int) -> None:
    """Count the bytes of a large body as held in memory until the request ends.

    Raises:
        TooManyRequests, Overloaded: there is no room for more.
    """
    request[CALL].visit.hold(count)


def free_body(request: web.Request) -> None:
    """Say that a large body is not in memory any more, although the request goes on."""
    request[CALL].visit.free()


def set_quota_headers(headers: MutableMapping[str, str], charges: Sequence[Charge]) -> None:
    """Set the headers that tell of the tightest budget of a request; none if it was counted on none."""
    if not charges:
        return
    tightest, decision = charges[0], charges[0].decision
    for charge in charges:
        other = charge.decision
        if other.allowed < decision.allowed or (
            other.remaining < decision.remaining and other.allowed == decision.allowed
        ):
            tightest, decision = charge, other
    budget = tightest.budget
    reset_s = math.ceil(decision.retry_after_s or decision.full_after_s)
    headers[_POLICY_HEADER] = f'"{budget}";{tightest.rate.policy}'
    headers[_LIMIT_HEADER] = f'"{budget}";r={decision.remaining};t={reset_s}'
