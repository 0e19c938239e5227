"""Stored things as bodies."""

from gpunode_protocol import admin_api as api
from gpunode_tracker.admin_views import account_view, audit_view, ban_view, key_terms, key_view, unit_price
from gpunode_tracker.api_keys import ApiKey, KeyTerms
from gpunode_tracker.audit import AuditRecord
from gpunode_tracker.bans import Ban, BanKind
from gpunode_tracker.scopes import Scope
from gpunode_tracker.storage.accounts import Account


def test_keys() -> None:
    """Scopes in their one order, the state as of now; what was asked for comes back."""
    request = api.KeyRequest(name="ci", scopes=("ledger", "jobs"), expires_at=100, requests_per_minute=5)
    key = ApiKey(id="k", account_id="a", terms=key_terms(request), created_at=1)
    view = key_view(key, 99)
    assert (view.scopes, view.state, view.expires_at, view.requests_per_minute) == (
        ("jobs", "ledger"),
        "active",
        100,
        5,
    )
    assert key_view(key, 100).state == "expired"
    assert key_terms(api.KeyRequest()) == KeyTerms()
    assert key_terms(api.KeyRequest(scopes=("admin",))).good_for == {Scope.ADMIN}


def test_the_rest() -> None:
    """Field by field."""
    assert account_view(Account("a", "Alice", True, 5)) == api.AccountView(
        account="a", name="Alice", promotional=True, created_at=5
    )
    assert ban_view(Ban(BanKind.NODE, "p", "lies", 1, 2)) == api.BanView(
        kind="node", subject="p", reason="lies", created_at=1, until=2
    )
    record = AuditRecord(7, 1, "operator", "", "banned", "node:p", {"reason": "lies"})
    assert audit_view(record).model_dump() == vars(record)
    assert unit_price(api.UnitPrices(input_microcredits=1, output_microcredits=2)).output_microcredits == 2
