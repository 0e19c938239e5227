"""The tracker's keys: the root key, which may be offline, and the signing keys that it vouches for."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpunode_protocol.identity import Identity
from gpunode_protocol.keyfile import load_identity, load_or_create_identity
from gpunode_protocol.keyset import KEY_LEAD_TIME_S, KeySet, TrackerKey, key_id_of, network_id_of
from gpunode_protocol.signing import Envelope, Signed, sign
from gpunode_protocol.trust import Trust
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.audit import OPERATOR, Action, Actor
from gpunode_tracker.errors import KeysUnusable, NoSigningKey, NotFound
from gpunode_tracker.restorations import next_sequence
from gpunode_tracker.storage import audit
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.documents import DocumentKind, add, constant, find_constant, newest
from gpunode_tracker.storage.locks import Lock, take

logger = logging.getLogger(__name__)

ROOT_KEY_FILE = "root.key"
SIGNING_FOLDER = "signing-keys"
ROOT_PUBLIC_KEY = "root_public_key"


@dataclass(frozen=True)
class KeyRing:
    """The key set in force and the private keys of it that are here. Made anew when a newer set is published."""

    trust: Trust
    private_keys: Mapping[str, Identity]

    @property
    def network(self) -> str:
        """The network id."""
        return self.trust.network

    @property
    def keyset(self) -> Signed[KeySet]:
        """The newest key set."""
        return self.trust.keyset

    def signer(self, now: float) -> tuple[str, Identity]:
        """Return ``kid`` and private key that sign at ``now`` (Unix seconds).

        Raises:
            NoSigningKey: no key is in use then, or its file is missing.
        """
        key = key_in_use(self.keyset.body, now)
        if key.kid not in self.private_keys:
            raise NoSigningKey(
                f"The file of the tracker's signing key {key.kid} is missing from {SIGNING_FOLDER}/ in the data "
                "folder. Copy it from the data folder of another tracker of the network, or out of a backup; if it is "
                "lost everywhere, replace it with: gpunode tracker rotate-key --now"
            )
        return key.kid, self.private_keys[key.kid]

    def can_sign(self, now: float) -> bool:
        """Return whether ``signer`` has a key."""
        try:
            self.signer(now)
        except NoSigningKey:
            return False
        return True

    def missing(self, now: float) -> frozenset[str]:
        """Return ``kid``s of keys that sign now or will, whose files are not here."""
        needed = {key.kid for key in self.keyset.body.keys if key.retired_at is None or now < key.retired_at}
        return frozenset(needed - self.private_keys.keys())


def key_in_use(keyset: KeySet, now: float) -> TrackerKey:
    """Return the newest key whose time has come and that is not retired.

    Raises:
        NoSigningKey: there is none.
    """
    usable = [key for key in keyset.keys if key.not_before <= now and (key.retired_at is None or now < key.retired_at)]
    if not usable:
        raise NoSigningKey("No signing key of the tracker is in use at this time. Check the computer's clock.")
    return max(usable, key=lambda key: key.not_before)


def no_tracker(data_dir: Path) -> NotFound:
    """Return the error for a folder in which no tracker was started yet."""
    return NotFound(f"There is no tracker in {data_dir}; start one with: gpunode tracker start --data-dir {data_dir}")


async def open_keys(database: Database, data_dir: Path, *, now: float, may_create: bool = True) -> KeyRing:
    """Return the keys of a data folder; the first time, make them if ``may_create``.

    Raises:
        NotFound: there are none, and none may be made.
        KeysUnusable: the root key file is not this network's, or there is neither a root key nor a key set.
        IdentityFileError: a key file cannot be used.
    """
    async with database.write() as connection:
        await take(connection, Lock.KEYS)
        envelope = await newest(connection, DocumentKind.KEYSET)
        root_path = data_dir / ROOT_KEY_FILE
        if envelope is None:
            if not may_create:
                raise no_tracker(data_dir)
            await _create(connection, data_dir, now=int(now))
        public_key = await find_constant(connection, ROOT_PUBLIC_KEY) or b""
        if root_path.exists() and load_identity(root_path).public_key != public_key:
            raise KeysUnusable(
                f"{root_path} is the root key of another network than the database's. Put the right one back, "
                "or move it away: the tracker runs without it."
            )
    return await read_keys(database, data_dir)


async def read_keys(database: Database, data_dir: Path) -> KeyRing:
    """Return the newest key set and the private keys that are here; they must exist already."""
    async with database.read() as connection:
        envelope = await newest(connection, DocumentKind.KEYSET)
        public_key = await find_constant(connection, ROOT_PUBLIC_KEY)
    if envelope is None or public_key is None:
        raise KeysUnusable("The database holds no key set. Start the tracker once with its root key.")
    trust = Trust.from_keyset(public_key, envelope)
    paths = {key.kid: _signing_path(data_dir, key.kid) for key in trust.keyset.body.keys}
    return KeyRing(trust, {kid: load_identity(path) for kid, path in paths.items() if path.exists()})


async def rotate(
    database: Database,
    data_dir: Path,
    *,
    root_key: Path | None = None,
    now: float,
    lead_time_s: int = KEY_LEAD_TIME_S,
    actor: Actor = OPERATOR,
) -> KeySet:
    """Publish a new signing key that takes over after the lead time.

    Args:
        root_key: file of the root key; None = in the data folder.
        now: Unix seconds.
        lead_time_s: seconds until the switch; 0 only after a loss or theft of the key in use.
        actor: who acts, for the audit log.

    Raises:
        KeysUnusable: the root key is not here or not this network's, or another switch is still to come.
    """
    path = root_key or data_dir / ROOT_KEY_FILE
    if not path.exists():
        raise KeysUnusable(
            f"There is no root key at {path}. Bring it from where you keep it, and pass --root-key FILE."
        )
    root = load_identity(path)
    async with database.write() as connection:
        await take(connection, Lock.KEYS)
        if await find_constant(connection, ROOT_PUBLIC_KEY) != root.public_key:
            raise KeysUnusable(f"{path} is the root key of another network.")
        envelope = await newest(connection, DocumentKind.KEYSET)
        if envelope is None:
            raise KeysUnusable("The database holds no key set yet. Start the tracker once.")
        old = Trust.from_keyset(root.public_key, envelope).keyset.body
        new_key = _new_signing_key(data_dir, not_before=int(now) + lead_time_s)
        sequence = await next_sequence(connection, DocumentKind.KEYSET, old.sequence)
        keyset = successor(old, new_key, now=int(now), sequence=sequence)
        await _publish(connection, root, keyset)
        subject, detail = f"signing_key:{new_key.kid}", {"not_before": new_key.not_before}
        await audit.record(
            connection, actor.name, Action.SIGNING_KEY_ROTATED, subject, detail, actor.address, at=int(now)
        )
    return keyset


def successor(old: KeySet, new_key: TrackerKey, *, now: int, sequence: int | None = None) -> KeySet:
    """Return the key set in which ``new_key`` takes over when its time comes; ``sequence``: None = the next one.

    One that takes over at once replaces a key whose time is still to come, too: that may be what was stolen.

    Raises:
        KeysUnusable: an earlier switch is still to come, and this one would have to wait as well.
    """
    if new_key.not_before > now and any(_is_to_come(key, now) for key in old.keys):
        raise KeysUnusable(
            "A new key is published already and takes over within two hours. Rotate again after that, or at once with "
            "--now, after a loss or theft."
        )
    retired = tuple(
        key if _is_retired(key, now) else key.model_copy(update={"retired_at": new_key.not_before}) for key in old.keys
    )
    return KeySet(network=old.network, sequence=sequence or old.sequence + 1, issued_at=now, keys=(*retired, new_key))


def _is_to_come(key: TrackerKey, now: int) -> bool:
    return key.not_before > now and not _is_retired(key, now)


def _is_retired(key: TrackerKey, now: int) -> bool:
    return key.retired_at is not None and key.retired_at <= now


async def _create(connection: AsyncConnection, data_dir: Path, *, now: int) -> None:
    path = data_dir / ROOT_KEY_FILE
    is_new = not path.exists()
    root = load_or_create_identity(path)
    if await constant(connection, ROOT_PUBLIC_KEY, root.public_key) != root.public_key:
        raise KeysUnusable(f"{path} is not the root key of this database.")
    key = _new_signing_key(data_dir, not_before=now)
    network = network_id_of(root.public_key)
    await _publish(connection, root, KeySet(network=network, sequence=1, issued_at=now, keys=(key,)))
    if is_new:
        logger.warning(
            "Made the network's root key: %s. Move it to a safe place offline: whoever has it can replace the tracker. "
            "It is needed again only for 'gpunode tracker rotate-key'.",
            path,
            extra={"event": "root_key_created", "network": network},
        )


async def _publish(connection: AsyncConnection, root: Identity, keyset: KeySet) -> Envelope:
    envelope = sign(root, keyset).envelope
    await add(connection, DocumentKind.KEYSET, keyset.sequence, envelope, keyset.issued_at)
    return envelope


def _new_signing_key(data_dir: Path, *, not_before: int) -> TrackerKey:
    draft = data_dir / SIGNING_FOLDER / "new.key"  # one that a crash left here is as good as a new one
    identity = load_or_create_identity(draft)
    kid = key_id_of(identity.public_key)
    draft.rename(_signing_path(data_dir, kid))
    return TrackerKey(kid=kid, public_key=identity.public_key, not_before=not_before)


def _signing_path(data_dir: Path, kid: str) -> Path:
    return data_dir / SIGNING_FOLDER / f"{kid}.key"
