"""``gpunode tracker create-key|list-keys|rotate-key-of|revoke-key``: API keys."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpunode_tracker.command_running import AccountArgument, AsJson, DataDir, run, show, show_list

if TYPE_CHECKING:
    from gpunode_tracker.administration import Administration
    from gpunode_tracker.api_keys import ApiKey
    from gpunode_tracker.scopes import Scope

_DAY_S = 24 * 3600
_HOUR_S = 3600
_PAGE_KEYS = 100

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Its id, as list-keys shows it; not the key itself.")]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="jobs, grants, ledger, account or admin; may be repeated. By default all but admin.",
    ),
]


def register(commands: typer.Typer) -> None:
    """Add the commands to the group."""
    commands.command("create-key")(create_key)
    commands.command("list-keys")(list_keys)
    commands.command("rotate-key-of")(rotate_key_of)
    commands.command("revoke-key")(revoke_key)


def create_key(
    account: AccountArgument,
    name: Annotated[str, typer.Option(help="For people, such as what uses it.")] = "",
    scope: ScopeOption = None,
    expires_days: Annotated[int | None, typer.Option(help="Days until it ends; by default never.", min=1)] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="Limit of its own.", min=1, max=1_000_000)] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key for an account; it is shown only this once."""
    scopes = _scopes(scope)

    async def act(admin: "Administration") -> dict[str, Any]:
        from gpunode_tracker.api_keys import KeyTerms  # noqa: PLC0415 -- --help stays light

        found = await admin.find_account(account)
        terms = KeyTerms(
            name=name,
            scopes=scopes,
            expires_at=None if expires_days is None else int(admin.clock()) + expires_days * _DAY_S,
            requests_per_minute=requests_per_minute,
        )
        made = await admin.api_keys.create(found.id, terms)
        about = _facts(made.key, admin.clock())
        return {"account": found.id, "name": found.name, "api_key": made.secret, "key": about["key"]} | {
            "scopes": about["scopes"],
            "expires_at": about["expires_at"],
        }

    show(run(data_dir, act), as_json, "API key", hint="Keep the key now: only its hash is stored.")


def list_keys(
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="Only this one's: id or name.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List API keys, those that have ended too; the keys themselves are not stored."""

    async def act(admin: "Administration") -> list[dict[str, Any]]:
        account_id = None if account is None else (await admin.find_account(account)).id
        keys: list[ApiKey] = []
        while page := await admin.api_keys.page(
            account_id=account_id, after_id=keys[-1].id if keys else "", limit=_PAGE_KEYS
        ):
            keys.extend(page)
        return [_facts(key, admin.clock()) for key in keys]

    given_up = ("requests_per_minute", "revoked_at", "created_at", "expires_at", "account")
    show_list("keys", run(data_dir, act), as_json, none="There are no API keys.", given_up=given_up)


def rotate_key_of(
    key: KeyId,
    grace_hours: Annotated[int, typer.Option(help="Hours for which the old one still works.", min=0, max=720)] = 24,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key in the place of another one, which ends after a while."""

    async def act(admin: "Administration") -> dict[str, Any]:
        made, old = await admin.api_keys.rotate(key, grace_s=grace_hours * _HOUR_S)
        return {
            "account": made.key.account_id,
            "api_key": made.secret,
            "key": made.key.id,
            "old_key": old.id,
            "old_key_ends_at": old.terms.expires_at,
        }

    show(run(data_dir, act), as_json, "API key", hint="Keep the key now: only its hash is stored.")


def revoke_key(key: KeyId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """End an API key; a running tracker refuses it within seconds."""

    async def act(admin: "Administration") -> dict[str, Any]:
        return _facts(await admin.api_keys.revoke(key), admin.clock())

    show(run(data_dir, act), as_json, "Revoked")


def _scopes(names: list[str] | None) -> "frozenset[Scope] | None":
    from gpunode_tracker.scopes import Scope, read_scopes  # noqa: PLC0415 -- as above

    if not names:
        return None
    if set(names) - set(Scope):
        raise typer.BadParameter(f"a scope is one of {', '.join(Scope)}", param_hint="--scope")
    return read_scopes(names)


def _facts(key: "ApiKey", now: float) -> dict[str, Any]:
    from gpunode_tracker.scopes import in_order  # noqa: PLC0415 -- as above

    return {
        "key": key.id,
        "account": key.account_id,
        "name": key.terms.name,
        "scopes": [str(scope) for scope in in_order(key.terms.good_for)],
        "state": str(key.state(now)),
        "requests_per_minute": key.terms.requests_per_minute,
        "created_at": key.created_at,
        "expires_at": key.terms.expires_at,
        "revoked_at": key.revoked_at,
    }
