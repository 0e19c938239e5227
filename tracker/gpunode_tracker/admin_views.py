"""Stored things as the bodies of administration. Pure."""

from gpunode_protocol import admin_api as api
from gpunode_protocol.prices import Price

from gpunode_tracker.api_keys import ApiKey, KeyTerms
from gpunode_tracker.audit import AuditRecord
from gpunode_tracker.bans import Ban
from gpunode_tracker.scopes import in_order, read_scopes
from gpunode_tracker.storage.accounts import Account


def account_view(account: Account) -> api.AccountView:
    """Return an account as lists show it."""
    return api.AccountView(
        account=account.id, name=account.name, promotional=account.promotional, created_at=account.created_at
    )


def key_view(key: ApiKey, now: float) -> api.KeyView:
    """Return a key without its secret."""
    return api.KeyView(
        key=key.id,
        account=key.account_id,
        name=key.terms.name,
        scopes=tuple(scope.value for scope in in_order(key.terms.good_for)),
        state=key.state(now).value,
        requests_per_minute=key.terms.requests_per_minute,
        created_at=key.created_at,
        expires_at=key.terms.expires_at,
        revoked_at=key.revoked_at,
    )


def key_terms(request: api.KeyRequest) -> KeyTerms:
    """Return what a key is asked to be good for."""
    return KeyTerms(
        name=request.name,
        scopes=None if request.scopes is None else read_scopes(request.scopes),
        expires_at=request.expires_at,
        requests_per_minute=request.requests_per_minute,
    )


def ban_view(ban: Ban) -> api.BanView:
    """Return a ban."""
    return api.BanView(
        kind=ban.kind.value, subject=ban.subject, reason=ban.reason, created_at=ban.created_at, until=ban.until
    )


def audit_view(record: AuditRecord) -> api.AuditEntry:
    """Return an entry of the audit log."""
    return api.AuditEntry(
        id=record.id,
        at=record.at,
        actor=record.actor,
        address=record.address,
        action=record.action,
        subject=record.subject,
        detail=dict(record.detail),
    )


def unit_price(given: api.UnitPrices) -> Price:
    """Return a price as tables hold it."""
    return Price(input_microcredits=given.input_microcredits, output_microcredits=given.output_microcredits)
