"""Adverts of nodes that answered well: the third source, when neither the DHT nor the tracker knows anyone."""

import base64
import binascii
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gpunode_protocol.adverts import Advert, pack_advert, unpack_advert
from gpunode_protocol.errors import ProtocolError
from gpunode_protocol.mesh.multiaddrs import is_relayed
from gpunode_protocol.signing import Signed

from gpunode._state import read_json, write_json

_log = logging.getLogger(__name__)

MAX_NODES: Final = 32
MAX_BOOTSTRAP_NODES: Final = 4
KEPT_S: Final = 24 * 3600
"""A kept advert outlives its own expiry (150 s) by this much: it is only a hint whom to probe, and the probe tells
whether the node lives. Its certificate must still be valid."""


class GoodNodes:
    """The newest adverts of at most 32 nodes and models, in a file.

    Args:
        path: the file.
        clock: Unix seconds.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._adverts: dict[tuple[str, str], Signed[Advert]] | None = None

    def all(self) -> list[Signed[Advert]]:
        """Return what is kept and not too old, the latest first; signatures of the nodes were checked."""
        oldest = self._clock() - KEPT_S
        return [advert for advert in reversed(self._load().values()) if advert.body.expires_at >= oldest]

    def addresses(self) -> tuple[str, ...]:
        """Return multiaddrs, with ``/p2p/…``, of the latest ones: ways into the mesh when the tracker is gone."""
        latest = (advert.body for advert in self.all()[:MAX_BOOTSTRAP_NODES])
        return tuple(
            f"{address}/p2p/{body.peer}" for body in latest for address in body.addresses if not is_relayed(address)
        )

    def remember(self, advert: Signed[Advert]) -> None:
        """Keep the advert of a node that has just answered well."""
        adverts = self._load()
        key = (advert.body.peer, advert.body.model.name)
        known = adverts.pop(key, None)
        adverts[key] = advert
        for old in list(adverts)[:-MAX_NODES]:
            del adverts[old]
        if known is None or known.body.sequence != advert.body.sequence:
            self._save()

    def forget(self, advert: Signed[Advert]) -> None:
        """Drop a node that failed."""
        if self._load().pop((advert.body.peer, advert.body.model.name), None) is not None:
            self._save()

    def _load(self) -> dict[tuple[str, str], Signed[Advert]]:
        if self._adverts is None:
            self._adverts = {}
            kept = read_json(self._path)
            for text in kept if isinstance(kept, list) else ():
                try:
                    advert = unpack_advert(base64.b64decode(str(text)))
                except (ProtocolError, binascii.Error, ValueError):
                    continue
                self._adverts[advert.body.peer, advert.body.model.name] = advert
        return self._adverts

    def _save(self) -> None:
        try:
            texts = [base64.b64encode(pack_advert(advert.envelope)).decode() for advert in self._load().values()]
            write_json(self._path, texts)
        except OSError as error:
            _log.warning("good nodes cannot be kept: %s", error, extra={"event": "state_not_written"})
