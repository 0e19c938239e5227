"""REST paths and bodies of administration: accounts, API keys, bans, prices, the audit log. Instants are Unix seconds.

Paths below ``/api/v1/admin`` need a key with the scope ``admin``; those below ``/api/v1/keys`` one with ``account``.
"""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Field

from gpunode_protocol.jobs_api import Label
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.signing import WireModel
from gpunode_protocol.tracker_api import API, BalanceReply
from gpunode_protocol.validation import Count, Name, TaskField, UnixSeconds

ADMIN = f"{API}/admin"
ADMIN_ACCOUNTS_PATH = f"{ADMIN}/accounts"
ADMIN_ACCOUNT_PATH = f"{ADMIN}/accounts/{{account}}"
ADMIN_CREDITS_PATH = f"{ADMIN}/accounts/{{account}}/credits"
ADMIN_ACCOUNT_KEYS_PATH = f"{ADMIN}/accounts/{{account}}/keys"
ADMIN_KEYS_PATH = f"{ADMIN}/keys"
ADMIN_KEY_PATH = f"{ADMIN}/keys/{{key}}"
ADMIN_KEY_ROTATION_PATH = f"{ADMIN}/keys/{{key}}/rotate"
ADMIN_BANS_PATH = f"{ADMIN}/bans"
ADMIN_PRICES_PATH = f"{ADMIN}/prices"
ADMIN_PRICE_HISTORY_PATH = f"{ADMIN}/prices/history"
ADMIN_AUDIT_PATH = f"{ADMIN}/audit"
KEYS_PATH = f"{API}/keys"
KEY_PATH = f"{API}/keys/{{key}}"
KEY_ROTATION_PATH = f"{API}/keys/{{key}}/rotate"

MAX_CREDITS = 10**9
"""Credits given at once at most: balances stay far from 64 bits of micro-credits."""
MAX_KEY_REQUESTS_PER_MINUTE = 1_000_000
DEFAULT_GRACE_S = 24 * 3600
MAX_GRACE_S = 30 * 24 * 3600
MAX_SUBJECT_CHARS = 200
MAX_REASON_CHARS = 500
MAX_UNIT_MICROCREDITS = 10**9
"""1,000 credits for one token: what the largest job costs still fits 64 bits."""
MAX_MODEL_PRICES = 500

ScopeName = Literal["jobs", "grants", "ledger", "account", "admin"]
KeyStateName = Literal["active", "expired", "revoked"]
BanKindName = Literal["account", "address", "worker", "node"]

UnitPrice = Annotated[int, Ge(0), Le(MAX_UNIT_MICROCREDITS)]
ScopeNames = Annotated[tuple[ScopeName, ...], MinLen(1), MaxLen(8)]
Line = Annotated[str, MinLen(1), MaxLen(MAX_REASON_CHARS), Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text for people."""


class AccountCreation(WireModel):
    """Body of ``POST /api/v1/admin/accounts``.

    credits: whole ones to begin with; None = the tracker's ``initial_credits``. promotional: they pay nodes nothing
    spendable.
    """

    name: Annotated[Label, MinLen(1)]
    credits: Annotated[int, Ge(0), Le(MAX_CREDITS)] | None = None
    promotional: bool = False


class AccountView(WireModel):
    """An account as lists show it."""

    account: str
    name: str
    promotional: bool
    created_at: UnixSeconds


class AccountsPage(WireModel):
    """Accounts by id; ``next_cursor``: pass as ``cursor`` for more."""

    accounts: tuple[AccountView, ...]
    next_cursor: str | None = None


class BanView(WireModel):
    """A ban. subject: as it is kept, which ``DELETE /api/v1/admin/bans?kind=&subject=`` takes."""

    kind: BanKindName
    subject: str
    reason: str
    created_at: UnixSeconds
    until: UnixSeconds | None = None


class AccountDetails(WireModel):
    """One account. keys: how many of its API keys work. ban: why it is shut out, None if it is not."""

    account: AccountView
    balance: BalanceReply
    keys: Count
    ban: BanView | None = None


class CreditsOrder(WireModel):
    """Body of ``POST …/credits``: whole credits, which cannot be taken back. memo: written into the ledger entry."""

    credits: Annotated[int, Ge(1), Le(MAX_CREDITS)]
    memo: Annotated[str, MaxLen(200), Field(pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class KeyRequest(WireModel):
    """A key to be made.

    scopes: what it is good for; None = for everything but administration, or for what the asking key is. expires_at:
    None = never, or when the asking key does. requests_per_minute: of this key alone, beside the tracker's own limits;
    None = those only, or as the asking key.
    """

    name: Label = ""
    scopes: ScopeNames | None = None
    expires_at: UnixSeconds | None = None
    requests_per_minute: Annotated[int, Ge(1), Le(MAX_KEY_REQUESTS_PER_MINUTE)] | None = None


class KeyView(WireModel):
    """An API key without its secret. key: its id, which names it in paths, lists and the audit log."""

    key: str
    account: str
    name: str
    scopes: tuple[ScopeName, ...]
    state: KeyStateName
    requests_per_minute: int | None = None
    created_at: UnixSeconds
    expires_at: UnixSeconds | None = None
    revoked_at: UnixSeconds | None = None


class KeysPage(WireModel):
    """Keys by id, those that ended among them; ``next_cursor``: pass as ``cursor`` for more."""

    keys: tuple[KeyView, ...]
    next_cursor: str | None = None


class NewKey(WireModel):
    """A new key; ``api_key`` is shown this once, only its hash is kept."""

    key: KeyView
    api_key: str


class KeyRotation(WireModel):
    """Body of ``POST …/rotate``. grace_s: seconds for which the old key still works, 0 = none."""

    grace_s: Annotated[int, Ge(0), Le(MAX_GRACE_S)] = DEFAULT_GRACE_S


class RotatedKey(WireModel):
    """The key that takes over, with the same name, scopes, limit and end; and the old one with its new end."""

    key: KeyView
    api_key: str
    old: KeyView


class BanOrder(WireModel):
    """Body of ``POST /api/v1/admin/bans``; a ban of the same subject is replaced.

    subject: an account's or worker's id, a node's peer id, or an address or network (``192.0.2.0/24``). An IPv6
    address stands for its /64. reason: shown to whom it concerns. until: None = until it is lifted.
    """

    kind: BanKindName
    subject: Annotated[str, MinLen(1), MaxLen(MAX_SUBJECT_CHARS)]
    reason: Line
    until: UnixSeconds | None = None


class BansPage(WireModel):
    """Bans in force, by kind and subject; ``next_cursor``: pass as ``cursor`` for more."""

    bans: tuple[BanView, ...]
    next_cursor: str | None = None


class UnitPrices(WireModel):
    """Micro-credits per unit; which units: see ``prices.Price``."""

    input_microcredits: UnitPrice
    output_microcredits: UnitPrice


class PriceOrder(WireModel):
    """Body of ``POST /api/v1/admin/prices``: a whole new table.

    replaces: version that it follows; another one in force = 409 and nothing is changed. tasks: all of them.
    models: of single models, by name, which go before the task's.
    """

    replaces: Count
    tasks: dict[TaskField, UnitPrices]
    models: Annotated[dict[Name, UnitPrices], MaxLen(MAX_MODEL_PRICES)] = Field(default_factory=dict)


class PricesPage(WireModel):
    """Price tables, the newest first; ``next_cursor``: pass as ``cursor`` for older ones."""

    prices: tuple[PriceTable, ...]
    next_cursor: str | None = None


class AuditEntry(WireModel):
    """What somebody did.

    actor: ``key:<id>``, ``node:<peer>``, ``worker:<id>``, ``operator``, ``anybody`` or ``unknown``. address: where the
    request came from, empty for the operator's commands. subject: what it was done to, such as ``account:<id>``.
    detail: depends on the action, never holds secrets.
    """

    id: Count
    at: UnixSeconds
    actor: str
    address: str
    action: str
    subject: str
    detail: dict[str, Any]


class AuditPage(WireModel):
    """Entries, the newest first; ``next_cursor``: pass as ``cursor`` for older ones."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None = None
