"""What a client keeps between runs: its key, the pinned networks, and per tracker what it learned.

::

    <state dir>/                  mode 0700
    ├── identity.key              the client's key (libp2p format, mode 0600)
    ├── mesh/                     peers met before
    └── trackers/<16 hex of SHA-256(URL)>/
        ├── pin.json              root key, pinned at first contact
        ├── network.json          the tracker's last network info
        ├── grants-<…>.json       live grants of one API key and their prices (mode 0600: they spend)
        ├── grants-<…>.db         what these have cost, for all clients that share them
        ├── home.json             the client's region, where the settings name none
        ├── measurements.json     round trips, speeds and failures of nodes
        ├── nodes.json            adverts of nodes that answered well
        └── vouchers/             those that the tracker has not answered for

All files are written whole or not at all. A damaged one counts as absent, except the pin, which is never guessed.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import platformdirs
from gpunode_protocol.keyset import network_id_of

from gpunode.errors import InvalidSettings

_MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_PRIVATE_FOLDER: Final = 0o700
_PRIVATE_FILE: Final = 0o600


class StateDir:
    """The folder; made on first use. Several processes may share it."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_state_dir()

    @property
    def identity_path(self) -> Path:
        """The client's key file."""
        return self.path / "identity.key"

    @property
    def mesh_dir(self) -> Path:
        """The mesh's folder."""
        return self.path / "mesh"

    def prepare(self) -> None:
        """Make the folder, private to its owner; one that exists keeps its mode (every file in it is private).

        Raises:
            InvalidSettings: it cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.mesh_dir):
                folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        except OSError as error:
            raise InvalidSettings(
                f"The client's state folder {self.path} cannot be used: {error.strerror}. "
                "Choose another one: state_dir=…, --state-dir or GPUNODE_STATE_DIR."
            ) from error

    def tracker(self, url: str) -> "TrackerState":
        """Return what is kept for one tracker."""
        return TrackerState(self.path / "trackers" / hashlib.sha256(url.encode()).hexdigest()[:16], url)

    def pinned_roots(self) -> dict[str, bytes]:
        """Return every pinned root key (32 bytes) by its network id."""
        folders = sorted((self.path / "trackers").glob("*"))
        pins = (TrackerState(folder, "").pinned_root() for folder in folders)
        return {network_id_of(root): root for root in pins if root is not None}


class TrackerState:
    """What is kept for one tracker."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self._url = url

    @property
    def pin_path(self) -> Path:
        """The file with the pinned root key."""
        return self.folder / "pin.json"

    @property
    def network_path(self) -> Path:
        """The file with the last network info."""
        return self.folder / "network.json"

    @property
    def nodes_path(self) -> Path:
        """The file with the good nodes."""
        return self.folder / "nodes.json"

    @property
    def measurements_path(self) -> Path:
        """The file with what was measured of nodes."""
        return self.folder / "measurements.json"

    @property
    def vouchers_path(self) -> Path:
        """The folder with vouchers that the tracker has not answered for."""
        return self.folder / "vouchers"

    @property
    def home_path(self) -> Path:
        """The file with the client's region, as it was found out."""
        return self.folder / "home.json"

    def grants_path(self, api_key: str) -> Path:
        """The file with an API key's grants: a grant spends from the account that it was issued to."""
        return self.folder / f"grants-{hashlib.sha256(api_key.encode()).hexdigest()[:16]}.json"

    def pinned_root(self) -> bytes | None:
        """Return the pinned root key, 32 bytes, or None before first contact.

        Raises:
            InvalidSettings: the file is damaged.
        """
        if not self.pin_path.exists():
            return None
        pin = read_json(self.pin_path)
        try:
            return bytes.fromhex(pin["root_public_key"])
        except (TypeError, KeyError, ValueError) as error:
            raise InvalidSettings(
                f"{self.pin_path}, which pins the network's root key, is damaged. If you trust the tracker's "
                "connection now, delete the file; the key is then pinned anew."
            ) from error

    def pin(self, root_public_key: bytes) -> None:
        """Keep the root key for good."""
        write_json(self.pin_path, {"tracker": self._url, "root_public_key": root_public_key.hex()})


def default_state_dir() -> Path:
    """Return the platform's folder for the state of the gpunode client."""
    return platformdirs.user_state_path("gpunode") / "client"


def read_json(path: Path) -> Any:
    """Return a file's content, None if it is missing, damaged or absurdly large."""
    with contextlib.suppress(OSError, ValueError, RecursionError), path.open("rb") as file:
        return json.loads(file.read(_MAX_FILE_BYTES))
    return None


def write_json(path: Path, value: Any) -> None:
    """Write a private file (mode 0600) whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    with _draft_of(path) as draft:
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file)
        draft.replace(path)


@contextlib.contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)
