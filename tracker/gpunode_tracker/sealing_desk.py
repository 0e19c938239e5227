"""Rotating the sealing keys, with lines in the audit log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunode_tracker import Clock
from gpunode_tracker.audit import Action, Actor
from gpunode_tracker.errors import InvalidRequest
from gpunode_tracker.network_keys import note_sealing_key
from gpunode_tracker.sealing_key_file import NOTICED_S, KeyFile, new_key, read_key_file, write_key_file
from gpunode_tracker.storage import audit
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.sealed_values import count_sealed_with


@dataclass(frozen=True)
class SealingDesk:
    """The sealing keys of one data folder.

    Args:
        path: their file.
        database: whose values they seal.
        clock: Unix seconds.
        actor: who acts.
    """

    path: Path
    database: Database
    clock: Clock
    actor: Actor

    async def prepare(self) -> KeyFile:
        """Add a key that the next rotation brings into use, so that the file can be copied to other trackers first.

        Raises:
            KeysUnusable: the file cannot be used. InvalidRequest: a key is prepared already.
        """
        content = self._change(lambda content: content.with_prepared(new_key()))
        await self._note(Action.SEALING_KEY_PREPARED, content, content.keys[-1].id, {})
        return content

    async def rotate(self) -> KeyFile:
        """Let the prepared key seal, or a new one; running trackers notice it and seal old values anew.

        Raises:
            KeysUnusable: the file cannot be used.
        """
        content = self._change(lambda content: content.rotated(new_key(), now=self._now))
        await self._note(Action.SEALING_KEY_ROTATED, content, content.keys[0].id, {})
        return content

    async def drop_old(self) -> KeyFile:
        """Take the keys out of the file that seal nothing any more.

        Raises:
            KeysUnusable: the file cannot be used. InvalidRequest: values are still sealed with them, or may be.
        """
        content = read_key_file(self.path)
        old_ids = [key.id for key in content.old_keys]
        if old_ids:
            await self._check_unused(content, old_ids)
            content = self._change(KeyFile.without_old_keys)
            dropped = " ".join(key_id.hex() for key_id in old_ids)
            await self._note(Action.SEALING_KEYS_DROPPED, content, content.keys[0].id, {"dropped": dropped})
        return content

    async def _check_unused(self, content: KeyFile, old_ids: list[bytes]) -> None:
        age_s = self._now - content.rotated_at
        if age_s < NOTICED_S:
            raise InvalidRequest(
                f"The key was rotated {max(0, age_s)} s ago, and a running tracker may not have noticed it yet. Wait "
                f"until {NOTICED_S} s have passed."
            )
        async with self.database.snapshot() as connection:
            count = await count_sealed_with(connection, old_ids)
        if count:
            raise InvalidRequest(
                f"{count} values in the database are still sealed with the old keys, so these are kept. A running "
                "tracker seals such values anew by itself; start it if it does not run, and try again later."
            )

    def _change(self, change: Callable[[KeyFile], KeyFile]) -> KeyFile:
        content = change(read_key_file(self.path))
        write_key_file(self.path, content)
        return content

    async def _note(self, action: Action, content: KeyFile, key_id: bytes, detail: Mapping[str, Any]) -> None:
        actor, subject = self.actor, f"sealing_key:{key_id.hex()}"
        async with self.database.write() as connection:
            await note_sealing_key(connection, content)
            await audit.record(connection, actor.name, action, subject, detail, actor.address, at=self._now)

    @property
    def _now(self) -> int:
        return int(self.clock())
