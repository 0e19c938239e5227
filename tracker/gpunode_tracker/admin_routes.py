"""The part of the URL table that is for administration and for an account's own keys."""

from gpunode_protocol import admin_api as api
from gpunode_protocol.jobs_api import MAX_PAGE
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.validation import MAX_INT64

from gpunode_tracker.bans import BanKind
from gpunode_tracker.handlers import admin_accounts, admin_audit, admin_bans, admin_keys, admin_prices, own_keys
from gpunode_tracker.handlers.admin_audit import MAX_FILTER_CHARS
from gpunode_tracker.handlers.admin_bans import MAX_CURSOR_CHARS
from gpunode_tracker.handlers.admin_keys import MAX_ID_CHARS
from gpunode_tracker.openapi.route import Auth, Query, Route, choice, limit, number, text
from gpunode_tracker.queries import DEFAULT_PAGE

_NEXT = "As the page before gave it in `next_cursor`."
_LIMIT = limit("Items", DEFAULT_PAGE, highest=MAX_PAGE)
_NUMBER_PAGE = (number("cursor", _NEXT, highest=MAX_INT64), _LIMIT)


def _page(max_chars: int, *others: Query) -> tuple[Query, ...]:
    return (*others, text("cursor", _NEXT, max_chars=max_chars), _LIMIT)


def _filter(name: str, about: str) -> Query:
    return text(name, about, max_chars=MAX_FILTER_CHARS)


OWN_KEY_ROUTES: tuple[Route, ...] = (
    Route("GET", api.KEYS_PATH, own_keys.get_keys, reply=api.KeysPage, auth=Auth.KEY, query=_page(MAX_ID_CHARS)),
    Route("POST", api.KEYS_PATH, own_keys.post_key, body=api.KeyRequest, reply=api.NewKey, status=201, auth=Auth.KEY),
    Route(
        "POST",
        api.KEY_ROTATION_PATH,
        own_keys.post_rotation,
        body=api.KeyRotation,
        reply=api.RotatedKey,
        status=201,
        auth=Auth.KEY,
        problems=(404,),
    ),
    Route("DELETE", api.KEY_PATH, own_keys.delete_key, reply=None, status=204, auth=Auth.KEY, problems=(404,)),
)

ADMIN_ROUTES: tuple[Route, ...] = (
    *OWN_KEY_ROUTES,
    Route(
        "GET",
        api.ADMIN_ACCOUNTS_PATH,
        admin_accounts.get_accounts,
        reply=api.AccountsPage,
        auth=Auth.KEY,
        query=_page(
            admin_accounts.MAX_NAME_CHARS,
            text("name", "Only accounts of exactly this name.", max_chars=admin_accounts.MAX_NAME_CHARS),
        ),
    ),
    Route(
        "POST",
        api.ADMIN_ACCOUNTS_PATH,
        admin_accounts.post_account,
        body=api.AccountCreation,
        reply=api.AccountDetails,
        status=201,
        auth=Auth.KEY,
    ),
    Route(
        "GET",
        api.ADMIN_ACCOUNT_PATH,
        admin_accounts.get_account,
        reply=api.AccountDetails,
        auth=Auth.KEY,
        problems=(404,),
    ),
    Route(
        "POST",
        api.ADMIN_CREDITS_PATH,
        admin_accounts.post_credits,
        body=api.CreditsOrder,
        reply=api.AccountDetails,
        status=201,
        auth=Auth.KEY,
        problems=(404,),
    ),
    Route(
        "GET",
        api.ADMIN_ACCOUNT_KEYS_PATH,
        admin_keys.get_account_keys,
        reply=api.KeysPage,
        auth=Auth.KEY,
        query=_page(MAX_ID_CHARS),
        problems=(404,),
    ),
    Route(
        "POST",
        api.ADMIN_ACCOUNT_KEYS_PATH,
        admin_keys.post_key,
        body=api.KeyRequest,
        reply=api.NewKey,
        status=201,
        auth=Auth.KEY,
        problems=(404,),
    ),
    Route(
        "GET", api.ADMIN_KEYS_PATH, admin_keys.get_keys, reply=api.KeysPage, auth=Auth.KEY, query=_page(MAX_ID_CHARS)
    ),
    Route(
        "POST",
        api.ADMIN_KEY_ROTATION_PATH,
        admin_keys.post_rotation,
        body=api.KeyRotation,
        reply=api.RotatedKey,
        status=201,
        auth=Auth.KEY,
        problems=(404,),
    ),
    Route("DELETE", api.ADMIN_KEY_PATH, admin_keys.delete_key, reply=None, status=204, auth=Auth.KEY, problems=(404,)),
    Route(
        "GET",
        api.ADMIN_BANS_PATH,
        admin_bans.get_bans,
        reply=api.BansPage,
        auth=Auth.KEY,
        query=_page(MAX_CURSOR_CHARS),
    ),
    Route(
        "POST",
        api.ADMIN_BANS_PATH,
        admin_bans.post_ban,
        body=api.BanOrder,
        reply=api.BanView,
        status=201,
        auth=Auth.KEY,
        problems=(404,),
    ),
    Route(
        "DELETE",
        api.ADMIN_BANS_PATH,
        admin_bans.delete_ban,
        reply=None,
        status=204,
        auth=Auth.KEY,
        query=(
            choice("kind", "What is shut out.", BanKind, required=True),
            text("subject", "As the list shows it.", max_chars=api.MAX_SUBJECT_CHARS, required=True),
        ),
        problems=(404,),
    ),
    Route("GET", api.ADMIN_PRICES_PATH, admin_prices.get_prices, reply=PriceTable, auth=Auth.KEY),
    Route(
        "POST",
        api.ADMIN_PRICES_PATH,
        admin_prices.post_prices,
        body=api.PriceOrder,
        reply=PriceTable,
        status=201,
        auth=Auth.KEY,
        problems=(409,),
    ),
    Route(
        "GET",
        api.ADMIN_PRICE_HISTORY_PATH,
        admin_prices.get_history,
        reply=api.PricesPage,
        auth=Auth.KEY,
        query=_NUMBER_PAGE,
    ),
    Route(
        "GET",
        api.ADMIN_AUDIT_PATH,
        admin_audit.get_audit,
        reply=api.AuditPage,
        auth=Auth.KEY,
        query=(
            _filter("actor", "Only what this one did, such as `key:<id>`."),
            _filter("action", "Only this kind of thing."),
            _filter("subject", "Only what was done to this one, such as `account:<id>`."),
            number("since", "Only from then on, Unix seconds.", highest=MAX_INT64),
            number("until", "Only until then, Unix seconds.", highest=MAX_INT64),
            *_NUMBER_PAGE,
        ),
    ),
)
