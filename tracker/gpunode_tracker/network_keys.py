"""The key files that all trackers of a network have the same: which ones these are, the database remembers.

``dispatch.key`` signs requests and vouchers of queued jobs, ``sealing_keys.json`` seals what clients entrust to it. A
tracker that made its own would refuse the others' jobs, and could not read them. The signing keys are in ``keys``.
"""

from pathlib import Path
from typing import Final

from gpunode_protocol.identity import Identity
from gpunode_protocol.keyfile import load_or_create_identity
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.audit import Action, Actor
from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.sealing import Sealer
from gpunode_tracker.sealing_key_file import SEALING_KEYS_FILE, KeyFile
from gpunode_tracker.storage import audit
from gpunode_tracker.storage.documents import constant, find_constant, replace_value

DISPATCH_KEY_FILE: Final = "dispatch.key"
_DISPATCH: Final = "dispatch_public_key"
_SEALING: Final = "sealing_key_id"


async def open_dispatch_key(connection: AsyncConnection, data_dir: Path) -> Identity:
    """Return the network's dispatch key, made by the first start of its first tracker.

    Raises:
        KeysUnusable: it is not here. IdentityFileError: the file cannot be used.
    """
    path = data_dir / DISPATCH_KEY_FILE
    if await find_constant(connection, _DISPATCH) is not None and not path.exists():
        raise _not_here(path)
    found = load_or_create_identity(path)
    if await constant(connection, _DISPATCH, found.public_key) != found.public_key:
        raise _not_here(path)
    return found


async def open_sealer(connection: AsyncConnection, data_dir: Path) -> Sealer:
    """Return what seals with the network's sealing keys, made by the first start of its first tracker.

    Raises:
        KeysUnusable: the key that seals now is not here, or the file cannot be used.
    """
    path = data_dir / SEALING_KEYS_FILE
    if await find_constant(connection, _SEALING) is not None and not path.exists():
        raise _not_here(path)
    sealer = Sealer.from_file(path)
    seals_now = await constant(connection, _SEALING, sealer.keys[0].id)
    if seals_now not in {key.id for key in sealer.keys}:
        raise _not_here(path)
    return sealer


async def note_sealing_key(connection: AsyncConnection, content: KeyFile) -> None:
    """Remember which key seals after a change of the file."""
    await replace_value(connection, _SEALING, content.keys[0].id)


async def adopt(connection: AsyncConnection, data_dir: Path, actor: Actor, *, now: int) -> tuple[Identity, Sealer]:
    """Let the files of this data folder count from now on, with a new one in the place of each that is lost.

    Raises:
        KeysUnusable, IdentityFileError: a file is there and cannot be used.
    """
    dispatch, sealer = (
        load_or_create_identity(data_dir / DISPATCH_KEY_FILE),
        Sealer.from_file(data_dir / SEALING_KEYS_FILE),
    )
    await replace_value(connection, _DISPATCH, dispatch.public_key)
    await replace_value(connection, _SEALING, sealer.keys[0].id)
    detail = {"dispatch_key": dispatch.peer_id, "sealing_key": sealer.keys[0].id.hex()}
    await audit.record(connection, actor.name, Action.KEYS_ADOPTED, "key_files", detail, actor.address, at=now)
    return dispatch, sealer


def _not_here(path: Path) -> KeysUnusable:
    return KeysUnusable(
        f"{path} is missing, or is not the one of this network's database. Copy it from the data folder of another "
        "tracker of the network, or out of a backup. If it is lost everywhere: gpunode tracker adopt-keys"
    )
