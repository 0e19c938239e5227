"""``gpunode tracker ban|unban|bans``: who is shut out."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gpunode_tracker.command_running import AsJson, DataDir, run, show, show_list

if TYPE_CHECKING:
    from gpunode_tracker.administration import Administration
    from gpunode_tracker.bans import Ban

_HOUR_S = 3600
_PAGE_BANS = 1_000

Kind = Annotated[Literal["account", "address", "worker", "node"], typer.Argument(help="What is shut out.")]
Subject = Annotated[
    str, typer.Argument(help="Account: id or name. Address: also a network, 192.0.2.0/24. Worker: id. Node: peer id.")
]


def register(commands: typer.Typer) -> None:
    """Add the commands to the group."""
    commands.command("ban")(ban)
    commands.command("unban")(unban)
    commands.command("bans")(bans)


def ban(
    kind: Kind,
    subject: Subject,
    reason: Annotated[str, typer.Option(help="Shown to whom it concerns.")],
    hours: Annotated[int | None, typer.Option(help="For how long; by default until unban.", min=1)] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Shut an account, an address, a worker or a node out; a running tracker does so within seconds."""

    async def act(admin: "Administration") -> dict[str, Any]:
        from gpunode_tracker.bans import BanKind  # noqa: PLC0415 -- --help stays light

        until = None if hours is None else int(admin.clock()) + hours * _HOUR_S
        return _facts(await admin.bans.place(BanKind(kind), await _id(admin, kind, subject), reason, until=until))

    show(run(data_dir, act), as_json, "Shut out")


def unban(kind: Kind, subject: Subject, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let somebody in again."""

    async def act(admin: "Administration") -> dict[str, Any]:
        from gpunode_tracker.bans import BanKind  # noqa: PLC0415 -- as above

        found = await _id(admin, kind, subject)
        await admin.bans.lift(BanKind(kind), found)
        return {"kind": kind, "subject": found}

    show(run(data_dir, act), as_json, "Let in again")


def bans(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List who is shut out."""

    async def act(admin: "Administration") -> list[dict[str, Any]]:
        found: list[Ban] = []
        while page := await admin.bans.page(
            (found[-1].kind, found[-1].subject) if found else ("", ""), limit=_PAGE_BANS
        ):
            found.extend(page)
        return [_facts(item) for item in found]

    show_list("bans", run(data_dir, act), as_json, none="Nobody is shut out.", given_up=("created_at", "until"))


async def _id(admin: "Administration", kind: str, subject: str) -> str:
    return (await admin.find_account(subject)).id if kind == "account" else subject


def _facts(found: "Ban") -> dict[str, Any]:
    return {
        "kind": str(found.kind),
        "subject": found.subject,
        "reason": found.reason,
        "created_at": found.created_at,
        "until": found.until,
    }
