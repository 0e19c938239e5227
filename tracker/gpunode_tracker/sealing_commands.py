"""``gpunode tracker rotate-sealing-key|adopt-keys``: key files that all trackers of a network have the same."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpunode_tracker.command_running import AsJson, DataDir, run, show

if TYPE_CHECKING:
    from gpunode_tracker.administration import Administration


def register(commands: typer.Typer) -> None:
    """Add the commands to the group."""
    commands.command("rotate-sealing-key")(rotate_sealing_key)
    commands.command("adopt-keys")(adopt_keys)


def rotate_sealing_key(
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only add the next key, to be copied to other trackers first.")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Take keys out of the file that seal nothing any more.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Seal what clients entrust to the queue with a new key; running trackers seal what there is anew."""
    if prepare and drop_old:
        raise typer.BadParameter("give either --prepare or --drop-old")

    async def act(admin: "Administration") -> dict[str, Any]:
        desk = admin.sealing
        content = await (desk.drop_old() if drop_old else desk.prepare() if prepare else desk.rotate())
        return {
            "sealing_key": content.keys[0].id.hex(),
            "prepared": content.prepared.hex() if content.prepared is not None else None,
            "old_keys": [key.id.hex() for key in content.old_keys],
        }

    show(run(data_dir, act), as_json, "Sealing keys")


def adopt_keys(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let the dispatch and sealing keys of this data folder count, after those of before were lost."""

    async def act(admin: "Administration") -> dict[str, Any]:
        dispatch, sealer = await admin.adopt_keys()
        return {"dispatch_key": dispatch.peer_id, "sealing_key": sealer.keys[0].id.hex()}

    hint = "Copy dispatch.key and sealing_keys.json to the other trackers' data folders, and start all of them anew."
    show(run(data_dir, act), as_json, "Key files", hint=hint)
