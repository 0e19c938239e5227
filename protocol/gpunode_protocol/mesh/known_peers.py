"""Peers met before, kept in a file: a way back into the mesh when no bootstrap peer answers."""

import json
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from gpunode_protocol.mesh.errors import MeshError
from gpunode_protocol.mesh.multiaddrs import split_peer

MAX_KNOWN_PEERS = 32
_MAX_FILE_BYTES = 64 * 1024


class KnownPeers:
    """Addresses with ``/p2p/…`` of DHT servers, newest last, at most 32 peers.

    Args:
        path: file to keep them in, or None to keep them in memory only. A damaged file counts as empty.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._addresses: OrderedDict[str, str] = OrderedDict()  # peer id: full address
        self.remember(_read(path) if path else ())

    def remember(self, addresses: Iterable[str]) -> None:
        """Add peers; the ones seen longest ago give way."""
        for address in addresses:
            try:
                _, peer_id = split_peer(address)
            except MeshError:
                continue
            self._addresses[peer_id] = address
            self._addresses.move_to_end(peer_id)
        while len(self._addresses) > MAX_KNOWN_PEERS:
            self._addresses.popitem(last=False)

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses, the newest first."""
        return tuple(reversed(self._addresses.values()))

    def save(self) -> None:
        """Write the file anew, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            draft.write_text(json.dumps(list(self._addresses.values()), indent=1))
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)


def _read(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return []
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
