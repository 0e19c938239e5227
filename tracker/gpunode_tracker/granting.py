"""Grants: credits are reserved and a token is signed, both or neither."""

import secrets

from gpunode_protocol.grants import Cap, Confirmation, Grant, audience, issue_grant
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT, PriceTable
from gpunode_protocol.tracker_api import GrantReply, GrantRequest

from gpunode_tracker.entries import Bookkeeper, account_name
from gpunode_tracker.errors import InsufficientCredits, InvalidRequest
from gpunode_tracker.keys import KeyRing
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.accounts import Account, find_account
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.grants import SETTLEMENT_PERIOD_S, StoredGrant, add_grant

DEFAULT_OPEN_MICROCREDITS = 20 * MICROCREDITS_PER_CREDIT
"""Reserved when a request names no amount, or the whole balance if that is less."""


async def issue(
    database: Database, keys: KeyRing, prices: PriceTable, account: Account, request: GrantRequest, *, now: int
) -> GrantReply:
    """Reserve and sign a grant.

    Args:
        now: Unix seconds.

    Raises:
        InvalidRequest: both kinds of cap, or nothing to reserve.
        InsufficientCredits: the account has less.
        NoSigningKey: nothing can be signed now; nothing was reserved.
    """
    if request.open_microcredits is not None and request.nodes is not None:
        raise InvalidRequest("Give either open_microcredits or nodes, not both.")
    kid, signer = keys.signer(now)  # before anything is reserved: without a key there is no grant
    async with database.write() as connection:
        await find_account(connection, account.id, lock=True)
        balance = await ledger.balance(connection, account_name(account.id))
        cap = _cap(request, balance)
        grant = _grant(cap, request, network=keys.network, price=prices.version, now=now)
        wanted = grant.reserved_microcredits
        if wanted > balance:
            raise InsufficientCredits(balance_microcredits=balance, wanted_microcredits=wanted)
        await add_grant(connection, stored(grant, account))
        await ledger.append(connection, Bookkeeper(keys.network, now).reserve(account.id, grant.jti, wanted))
    token = issue_grant(grant, signer=signer, kid=kid)
    return GrantReply(grant=token, jti=grant.jti, expires_at=grant.exp, reserved_microcredits=wanted)


def _cap(request: GrantRequest, balance: int) -> Cap:
    if request.nodes is not None:
        cap = Cap(nodes=dict(request.nodes))
        wanted = sum(request.nodes.values())
    else:
        default = min(DEFAULT_OPEN_MICROCREDITS, balance)
        wanted = default if request.open_microcredits is None else request.open_microcredits
        cap = Cap(open=wanted)
    if wanted <= 0:
        if balance <= 0:
            raise InsufficientCredits(balance_microcredits=balance, wanted_microcredits=1)
        raise InvalidRequest("A grant must reserve at least one micro-credit.")
    return cap


def _grant(cap: Cap, request: GrantRequest, *, network: str, price: int, now: int) -> Grant:
    return Grant(
        iss=audience(network),
        aud=audience(network),
        sub=secrets.token_hex(8),  # random: nodes must not recognise an account
        jti=secrets.token_hex(16),
        iat=now,
        exp=now + request.lifetime_s,
        cnf=Confirmation(peer=request.peer),
        tasks=tuple(str(task) for task in request.tasks),
        priority=request.priority,
        jobs=request.jobs,
        price=price,
        cap=cap,
    )


def stored(grant: Grant, account: Account) -> StoredGrant:
    """Return the row of a new grant."""
    return StoredGrant(
        jti=grant.jti,
        account_id=account.id,
        client=grant.cnf.peer,
        tasks=grant.tasks,
        node_caps={str(peer): amount for peer, amount in grant.cap.nodes.items()} if grant.cap.nodes else None,
        reserved=grant.reserved_microcredits,
        price_version=grant.price,
        issued_at=grant.iat,
        expires_at=grant.exp,
        release_at=grant.exp + SETTLEMENT_PERIOD_S,
    )
