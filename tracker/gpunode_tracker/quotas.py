"""The budgets of a request: which ones it is counted on, and what its answer says of them.

``RateLimit-Policy`` and ``RateLimit`` are those of the IETF's draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import web
from gpunode_protocol import admin_api, jobs_api
from gpunode_protocol import tracker_api as api

from gpunode_tracker.api_keys import ApiKey
from gpunode_tracker.app_keys import CHARGES, CLIENT, GUARD, PATH, VISIT
from gpunode_tracker.client_addresses import FORWARDED_HEADER, holder_of
from gpunode_tracker.limits import Budget
from gpunode_tracker.request_guard import Charge, RequestGuard, refusal

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


def note_client(request: web.Request, guard: RequestGuard) -> list[Charge]:
    """Find out from which address a request comes, once and for all of its handling.

    Returns:
        A list to which the request's charges will be added.
    """
    forwarded = request.headers.getall(FORWARDED_HEADER, ())
    request[CLIENT] = guard.address_of(request.remote, forwarded)
    charges: list[Charge] = []
    request[CHARGES] = charges
    return charges


async def charge_address(request: web.Request, guard: RequestGuard, holder: str) -> None:
    """Count a request on its address. holder: what is counted for that, see ``holder_of``.

    Raises:
        TooManyRequests: the address has used up what it may ask for.
    """
    if not _charge_now(request, guard, _OF_ADDRESS, holder):
        await _charge(request, _OF_ADDRESS, holder)
    budget = ADDRESS_BUDGETS.get((request.method, request[PATH]))
    if budget is not None and not _charge_now(request, guard, budget, holder):
        await _charge(request, budget, holder)


async def charge_identity(request: web.Request, name: str) -> None:
    """Count an authenticated request on its account or node; ``name``: the ledger's.

    Raises:
        TooManyRequests: it has used up what it may ask for.
    """
    budget = IDENTITY_BUDGETS.get((request.method, request[PATH]), _OF_LOOKUPS)
    if not _charge_now(request, request.app[GUARD], budget, name):
        await _charge(request, budget, name)


async def charge_key(request: web.Request, key: ApiKey) -> None:
    """Count a request on its key, if that has a limit of its own.

    Raises:
        TooManyRequests: the key has used it up.
    """
    limit = key.terms.requests_per_minute
    if limit is not None:
        _note(request, await request.app[GUARD].charge_key(key.id, limit))


async def charge_settlement(request: web.Request, name: str | None) -> None:
    """Count a batch on whom it comes from, or on the address if nobody knows; ``name``: as above.

    Raises:
        TooManyRequests: as above.
    """
    if name is None:
        await _charge(request, Budget.ANONYMOUS_SETTLEMENTS, holder_of(request[CLIENT]))
    else:
        await charge_identity(request, name)


async def charge_items(request: web.Request, name: str | None, count: int) -> None:
    """Count a batch's items, likewise."""
    await _charge(request, Budget.SETTLEMENT_ITEMS, name or holder_of(request[CLIENT]), count)


async def refuse_guessers(request: web.Request) -> None:
    """Refuse to look at a key or token of an address that has shown too many wrong ones.

    Raises:
        TooManyRequests: of this address no more are looked at for a while, not even right ones.
    """
    guard, holder = request.app[GUARD], holder_of(request[CLIENT])
    if guard.has_full_bucket(_OF_GUESSERS, holder):
        return
    charge = await guard.charge(_OF_GUESSERS, holder, 0)
    if not charge.decision.allowed:  # whoever shows a right key need not hear of a budget for wrong ones
        _note(request, charge)


async def note_wrong_key(request: web.Request) -> None:
    """Count a wrong key or token."""
    request[CHARGES].append(await request.app[GUARD].charge(Budget.FAILED_AUTHENTICATIONS, holder_of(request[CLIENT])))


def _charge_now(request: web.Request, guard: RequestGuard, budget: Budget, holder: str) -> bool:
    """Charge without waiting; return False if somebody else has to be asked, see ``_charge``.

    Most trackers share nothing, every request comes here twice, and each step that may wait costs it a microsecond.
    """
    charge = guard.charge_now(budget, holder)
    if charge is not None:
        _note(request, charge)
    return charge is not None


async def _charge(request: web.Request, budget: Budget, holder: str, cost: int = 1) -> None:
    _note(request, await request.app[GUARD].charge(budget, holder, cost))


def _note(request: web.Request, charge: Charge) -> None:
    request[CHARGES].append(charge)
    if not charge.decision.allowed:
        raise refusal(charge)


def hold_body(request: web.Request, count: int) -> None:
    """Count the bytes of a large body as held in memory until the request ends.

    Raises:
        TooManyRequests, Overloaded: there is no room for more.
    """
    request[VISIT].hold(count)


def free_body(request: web.Request) -> None:
    """Say that a large body is not in memory any more, although the request goes on."""
    request[VISIT].free()


def quota_headers(charges: Sequence[Charge]) -> dict[str, str]:
    """Return the headers that tell of the tightest budget of a request; empty if it was counted on none."""
    if not charges:
        return {}
    budget, rate, decision = charges[0]
    for charge in charges:
        other = charge.decision
        if (other.allowed, other.remaining) < (decision.allowed, decision.remaining):
            budget, rate, decision = charge
    reset_s = math.ceil(decision.retry_after_s or decision.full_after_s)
    return {
        "RateLimit-Policy": f'"{budget}";{rate.policy}',
        "RateLimit": f'"{budget}";r={decision.remaining};t={reset_s}',
    }
