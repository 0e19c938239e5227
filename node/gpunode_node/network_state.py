"""What the node believes of its network: the root key pinned at first contact, and the tracker's newest word."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.keyset import network_id_of
from gpunode_protocol.signing import Envelope
from gpunode_protocol.tracker_api import HeartbeatReply, NetworkInfo
from gpunode_protocol.trust import Trust
from pydantic import ValidationError

from gpunode_node.errors import OtherNetwork
from gpunode_node.job_services import NetworkView
from gpunode_node.state_files import read_json, write_json

logger = logging.getLogger(__name__)


class NetworkState:
    """Verified network info, kept in a file.

    Args:
        path: the file.
        expected: network id that the tracker must have, from the settings; None = whatever it has at first contact.
    """

    def __init__(self, path: Path, expected: str | None = None) -> None:
        self._path = path
        self._expected = expected
        self._pin: bytes | None = None
        self._info: NetworkInfo | None = None
        self._view: NetworkView | None = None
        self.on_view: Callable[[NetworkView], None] = _unheard  #: told of newer keys and revocations
        self._load()

    @property
    def is_known(self) -> bool:
        """Whether there is anything to start with, from the tracker or from an earlier run."""
        return self._view is not None

    @property
    def info(self) -> NetworkInfo:
        """The newest info. Raises LookupError before first contact."""
        if self._info is None:
            raise LookupError("no network info yet")
        return self._info

    @property
    def view(self) -> NetworkView:
        """Keys, revocations and prices. Raises LookupError before first contact."""
        if self._view is None:
            raise LookupError("no network info yet")
        return self._view

    @property
    def shard_bits(self) -> tuple[int, ...]:
        """Bit counts to announce under: the published one, and for a while the one before it."""
        info = self.info
        return (info.shard_bits,) if info.previous_shard_bits is None else (info.shard_bits, info.previous_shard_bits)

    def accept(self, info: NetworkInfo) -> None:
        """Take the tracker's network info; the first one pins the root key.

        Raises:
            OtherNetwork: another network than the pinned or expected one. Untrusted, ProtocolError: it does not verify.
        """
        self._check_network(info.root_public_key)
        trust = Trust.from_keyset(info.root_public_key, info.keyset)
        if self._view is not None:
            trust = self._view.trust.updated(info.keyset)
        revocations = trust.open_revocations(info.revocations).body
        known = self._view.revocations if self._view else None
        if known is not None and known.sequence > revocations.sequence:
            revocations = known
        self._pin, self._info = info.root_public_key, self._with_bootstrap(info)
        before = self._view or NetworkView(trust=trust, revocations=revocations, prices=info.prices)
        self._set_view(replace(before.repriced(info.prices), trust=trust, revocations=revocations))
        self._save()

    def accept_heartbeat(self, reply: HeartbeatReply) -> None:
        """Take newer keys, revocations, bootstrap addresses and shard bits; what does not verify changes nothing."""
        info = self.info.model_copy(
            update={
                "bootstrap": reply.bootstrap or self.info.bootstrap,
                "shard_bits": reply.shard_bits,
                "previous_shard_bits": reply.previous_shard_bits,
            }
        )
        trust = self._newer_trust(reply.keyset)
        revocations = self.view.revocations
        try:
            offered = trust.open_revocations(reply.revocations).body
            if revocations is None or offered.sequence > revocations.sequence:
                revocations = offered
                info = info.model_copy(update={"revocations": reply.revocations})
        except GpunodeError as error:
            logger.warning("revocations refused: %s", error, extra={"event": "revocations_refused"})
        info = info.model_copy(update={"keyset": trust.keyset.envelope})
        changed = info != self._info
        self._info = info
        self._set_view(replace(self.view, trust=trust, revocations=revocations))
        if changed:
            self._save()

    def _with_bootstrap(self, info: NetworkInfo) -> NetworkInfo:
        """Keep the known bootstrap peers while the tracker, just started, names none."""
        if info.bootstrap or self._info is None:
            return info
        return info.model_copy(update={"bootstrap": self._info.bootstrap})

    def _newer_trust(self, keyset: Envelope) -> Trust:
        try:
            return self.view.trust.updated(keyset)
        except GpunodeError as error:
            logger.warning("key set refused: %s", error, extra={"event": "keyset_refused"})
            return self.view.trust

    def _check_network(self, root_public_key: bytes) -> None:
        offered = network_id_of(root_public_key)
        if self._expected is not None and offered != self._expected:
            raise OtherNetwork(
                f"The tracker belongs to network {offered}, but the settings ask for {self._expected}. "
                "Check the tracker's address and --network-id."
            )
        if self._pin is not None and root_public_key != self._pin:
            raise OtherNetwork(
                f"The tracker belongs to network {offered}, but this node joined {network_id_of(self._pin)} first. "
                f"Check the tracker's address; to join another network, use another --data-dir, or delete {self._path}."
            )

    def _set_view(self, view: NetworkView) -> None:
        self._view = view
        self.on_view(view)

    def _save(self) -> None:
        if self._pin is not None and self._info is not None:
            info = self._info.model_dump_json(exclude_none=True)
            write_json(self._path, {"root_public_key": self._pin.hex(), "info": info})

    def _load(self) -> None:
        """Read what an earlier run saw. The pin is never guessed: a damaged file must be looked at by its owner."""
        stored = read_json(self._path)
        if stored is None and not self._path.exists():
            return
        try:
            pin = bytes.fromhex(stored["root_public_key"])
            info = NetworkInfo.model_validate_json(stored["info"])
        except (TypeError, KeyError, ValueError, ValidationError) as error:
            raise OtherNetwork(
                f"{self._path}, which pins the network's root key, is damaged. If you trust the tracker's connection "
                "now, delete the file; the key is then pinned anew."
            ) from error
        self._pin = pin
        self.accept(info)


def _unheard(_view: NetworkView) -> None:
    """Nobody else keeps what is believed of the network."""
