"""``gpunode tracker …``: start the tracker, and its operator's commands."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpunode_tracker import (
    audit_commands,
    ban_commands,
    key_commands,
    price_commands,
    report_commands,
    sealing_commands,
)
from gpunode_tracker.backup import commands as backup_commands
from gpunode_tracker.command_running import AccountArgument, AsJson, DataDir
from gpunode_tracker.command_running import run as _run
from gpunode_tracker.command_running import show as _show

if TYPE_CHECKING:
    from gpunode_tracker.administration import Administration

commands = typer.Typer(name="tracker", help="Run a tracker: accounts, ledger, bootstrap peer.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the root command."""
    app.add_typer(commands)


@commands.command()
def start(  # noqa: PLR0913 -- one parameter an option
    *,
    data_dir: DataDir = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT of HTTP; port 0 = any.")] = None,
    insecure: Annotated[bool | None, typer.Option("--insecure", help="Plain http beyond loopback.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of the certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
    public_url: Annotated[str | None, typer.Option(help="URL by which others reach this tracker.")] = None,
    trusted_proxy: Annotated[
        list[str] | None, typer.Option(help="Address or network of a proxy whose X-Forwarded-For counts.")
    ] = None,
    mesh_port: Annotated[int | None, typer.Option(help="libp2p port, TCP and UDP; 0 = any.")] = None,
    mesh_listen: Annotated[list[str] | None, typer.Option(help="Multiaddrs to listen on instead.")] = None,
    announce_address: Annotated[list[str] | None, typer.Option(help="Multiaddrs that others should use.")] = None,
    no_quic: Annotated[bool, typer.Option("--no-quic", help="TCP only.")] = False,
    no_mesh: Annotated[bool, typer.Option("--no-mesh", help="HTTP only, no bootstrap peer (for tests).")] = False,
    initial_credits: Annotated[int | None, typer.Option(help="Credits for each new account (1000).")] = None,
    open_registration: Annotated[
        bool | None, typer.Option("--open-registration", help="Anybody may make a promotional account.")
    ] = None,
    database_url: Annotated[str | None, typer.Option(help="postgresql://…; default SQLite in --data-dir.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="Redis that several trackers share (REDIS_URL).")] = None,
) -> None:
    """Run the tracker until Ctrl-C or SIGTERM."""
    from gpunode_tracker.config import TrackerSettings  # noqa: PLC0415 -- --help stays light
    from gpunode_tracker.daemon import run  # noqa: PLC0415 -- as above

    given = {
        "data_dir": data_dir,
        "listen": listen,
        "insecure": insecure,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "public_url": public_url,
        "trusted_proxies": tuple(trusted_proxy or ()),
        "mesh_port": mesh_port,
        "mesh_listen": tuple(mesh_listen or ()),
        "announce_address": tuple(announce_address or ()),
        "quic": False if no_quic else None,
        "mesh": False if no_mesh else None,
        "initial_credits": initial_credits,
        "open_registration": open_registration,
        "database_url": database_url,
        "redis_url": redis_url,
    }
    run(TrackerSettings.load(given))


@commands.command("create-account")
def create_account(
    name: Annotated[str, typer.Argument(help="For people; the id is made up.")],
    credits_given: Annotated[
        int | None, typer.Option("--credits", help="Whole credits to begin with (1000).", min=0)
    ] = None,
    promotional: Annotated[
        bool, typer.Option("--promotional", help="Its credits pay nodes nothing spendable.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an account and give it its initial credits."""

    async def act(admin: "Administration") -> dict[str, Any]:
        given = admin.settings.initial_credits if credits_given is None else credits_given
        account = await admin.create_account(name, credits_given=given, promotional=promotional)
        return {"account": account.id, "name": account.name, "credits": given, "promotional": promotional}

    _show(_run(data_dir, act), as_json, "Account", hint="Its first API key: gpunode tracker create-key {account}")


@commands.command()
def issue(
    account: AccountArgument,
    credits_given: Annotated[int, typer.Argument(metavar="CREDITS", help="Whole credits.", min=1)],
    memo: Annotated[str, typer.Option(help="Written into the ledger entry.")] = "",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give an account credits."""

    async def act(admin: "Administration") -> dict[str, Any]:
        found = await admin.find_account(account)
        balance = await admin.issue(found.id, credits_given, memo=memo)
        return {
            "account": found.id,
            "name": found.name,
            "issued": credits_given,
            "spendable_microcredits": balance.spendable_microcredits,
        }

    _show(_run(data_dir, act), as_json, "Issued")


@commands.command()
def revoke(
    grant: Annotated[str | None, typer.Option(help="A grant's id (jti).")] = None,
    node: Annotated[str | None, typer.Option(help="A node's peer id.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End a grant, or shut a node out; nodes and clients hear of it with their next heartbeat."""
    if (grant is None) == (node is None):
        raise typer.BadParameter("give either --grant or --node")

    async def act(admin: "Administration") -> dict[str, Any]:
        if grant is not None:
            await admin.revoke_grant(grant)
            return {"revoked": "grant", "id": grant}
        await admin.revoke_node(node or "")
        return {"revoked": "node", "id": node}

    _show(_run(data_dir, act), as_json, "Revoked")


@commands.command("rotate-key")
def rotate_key(
    root_key: Annotated[Path | None, typer.Option(help="The root key's file, if it is not in --data-dir.")] = None,
    now: Annotated[bool, typer.Option("--now", help="Switch at once, after a loss or theft.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Publish a new signing key; it takes over two hours later."""

    async def act(admin: "Administration") -> dict[str, Any]:
        keyset = await admin.rotate_key(root_key=root_key, at_once=now)
        newest = keyset.keys[-1]
        return {"kid": newest.kid, "not_before": newest.not_before, "sequence": keyset.sequence}

    _show(_run(data_dir, act), as_json, "New signing key")


@commands.command()
def show(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show network, keys, where the tracker runs, and all accounts."""
    from gpunode_tracker.overview import overview, print_overview  # noqa: PLC0415 -- as above

    facts = _run(data_dir, overview)
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        print_overview(facts)


for _subject in (
    key_commands,
    ban_commands,
    price_commands,
    audit_commands,
    report_commands,
    sealing_commands,
    backup_commands,
):
    _subject.register(commands)
