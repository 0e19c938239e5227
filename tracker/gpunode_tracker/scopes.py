"""What an API key is good for, and which of it each path needs. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final

from gpunode_protocol import jobs_api, tracker_api
from gpunode_protocol.admin_api import ADMIN, KEYS_PATH


class Scope(StrEnum):
    """One group of calls; docs/api.md lists them."""

    JOBS = "jobs"
    """Submit, see and cancel queued jobs; see workers."""
    GRANTS = "grants"
    """Spend directly with nodes: grants, and reports on what nodes answered."""
    LEDGER = "ledger"
    """Read balances, entries and receipts."""
    ACCOUNT = "account"
    """The account's own API keys and nodes."""
    ADMIN = "admin"
    """Everybody's accounts and keys, bans, prices, the audit log."""


DEFAULT_SCOPES: Final = frozenset(Scope) - {Scope.ADMIN}
"""Of a key that was made without naming any."""

_SCOPE_OF_PREFIX: Final = (
    # the first that fits counts
    (ADMIN, Scope.ADMIN),
    (KEYS_PATH, Scope.ACCOUNT),
    (tracker_api.ACCOUNTS_PATH, Scope.ACCOUNT),
    (tracker_api.LINK_PATH, Scope.ACCOUNT),
    (tracker_api.NODE_BALANCE_PATH, Scope.LEDGER),
    (f"{tracker_api.API}/ledger", Scope.LEDGER),
    (tracker_api.GRANTS_PATH, Scope.GRANTS),
    (tracker_api.REPORTS_PATH, Scope.GRANTS),
    (tracker_api.SETTLEMENTS_PATH, Scope.GRANTS),
    (jobs_api.JOBS_PATH, Scope.JOBS),
    (jobs_api.WORKERS_PATH, Scope.JOBS),
    ("/v1", Scope.JOBS),  # the OpenAI-compatible gateway
)


@lru_cache(maxsize=256)
def scope_of(path: str) -> Scope:
    """Return what a key has to be good for at a path; ``path``: the route's, with variables in braces.

    A path that is not listed needs ``admin``, so that none is open by mistake.
    """
    for prefix, scope in _SCOPE_OF_PREFIX:
        if path == prefix or path.startswith(prefix + "/"):
            return scope
    return Scope.ADMIN


def read_scopes(names: Iterable[str] | None) -> frozenset[Scope]:
    """Return scopes by their names as they are stored; None: the default ones. Unknown names count for nothing."""
    if names is None:
        return DEFAULT_SCOPES
    known = {str(scope): scope for scope in Scope}
    return frozenset(known[name] for name in names if name in known)


def in_order(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return scopes in the order in which they are listed everywhere."""
    given = frozenset(scopes)
    return tuple(scope for scope in Scope if scope in given)
