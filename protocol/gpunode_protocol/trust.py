"""What a participant believes of its network: the pinned root key and the newest key set signed by it."""

from dataclasses import dataclass
from typing import ClassVar

from gpunode_protocol.adverts import Advert
from gpunode_protocol.certificates import CERTIFICATE_LIFETIME_S, Certificate
from gpunode_protocol.errors import ErrorCode, ProtocolError, Untrusted, job_error
from gpunode_protocol.grants import CLOCK_LEEWAY_S, Grant, grant_key_id, read_grant
from gpunode_protocol.keyset import KeySet, TrackerKey, key_id_of, network_id_of
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import B, Envelope, Signed, SignedBody, open_signed, read_body
from gpunode_protocol.tree_head import TreeHead
from gpunode_protocol.validation import Name, NetworkId, UnixSeconds


class NodeIndex(SignedBody):
    """The tracker's list of live nodes for one question, signed: the second source beside the DHT."""

    signature_type: ClassVar[str] = "node-index"

    network: NetworkId
    issued_at: UnixSeconds
    adverts: tuple[Envelope, ...]
    kid: Name


@dataclass(frozen=True)
class Trust:
    """Verifies everything that the tracker signs. Make a new one when a newer key set arrives."""

    root_public_key: bytes
    keyset: Signed[KeySet]

    @classmethod
    def from_keyset(cls, root_public_key: bytes, envelope: Envelope) -> "Trust":
        """Check a key set against the root key (32 bytes).

        Raises:
            Untrusted: not signed by this root key, or for another network.
        """
        try:
            keyset = open_signed(KeySet, envelope, root_public_key)
        except ProtocolError as error:
            raise Untrusted(f"The tracker's key set does not verify against the pinned root key: {error}") from error
        trust = cls(root_public_key, keyset)
        keys = keyset.body.keys
        if keyset.body.network != trust.network or any(key_id_of(key.public_key) != key.kid for key in keys):
            raise Untrusted("The tracker's key set is for another network or names a key wrongly.")
        if len({key.kid for key in keys}) < len(keys):
            raise Untrusted("The tracker's key set has one key twice.")
        return trust

    @property
    def network(self) -> str:
        """The network id."""
        return network_id_of(self.root_public_key)

    def updated(self, envelope: Envelope) -> "Trust":
        """Return the trust with a newer key set; an older or equal one changes nothing."""
        newer = Trust.from_keyset(self.root_public_key, envelope)
        return newer if newer.keyset.body.sequence > self.keyset.body.sequence else self

    def key(self, kid: str, at: float) -> TrackerKey:
        """Return the tracker key that was in use at an instant (Unix seconds).

        Raises:
            Untrusted: no such key, or it was not in use then.
        """
        for key in self.keyset.body.keys:
            if key.kid != kid:
                continue
            if at < key.not_before - CLOCK_LEEWAY_S or (
                key.retired_at is not None and at > key.retired_at + CLOCK_LEEWAY_S
            ):
                raise Untrusted(f"The tracker key {kid} was not in use at that time.")
            return key
        raise Untrusted(f"The tracker key {kid} is not in the key set; fetch the newest one.")

    def _open(self, model: type[B], envelope: Envelope, kid: str, at: int) -> Signed[B]:
        signed = open_signed(model, envelope, self.key(kid, at).public_key)
        if signed.body.network != self.network:
            raise Untrusted(f"This {model.signature_type} belongs to another network.")
        return signed

    def open_certificate(self, envelope: Envelope, *, now: float) -> Signed[Certificate]:
        """Check a node's certificate at ``now`` (Unix seconds).

        Raises:
            Untrusted, ProtocolError: it does not verify or has expired.
        """
        body = read_body(Certificate, envelope)
        signed = self._open(Certificate, envelope, body.kid, body.issued_at)
        if not body.issued_at - CLOCK_LEEWAY_S <= now <= body.expires_at:
            raise Untrusted("The node's certificate has expired or is not valid yet.")
        if body.expires_at - body.issued_at > CERTIFICATE_LIFETIME_S:
            # else a key that was stolen and retired could sign certificates of its past that last for ever
            raise Untrusted(f"The node's certificate lasts longer than {CERTIFICATE_LIFETIME_S} s.")
        return signed

    def open_revocations(self, envelope: Envelope) -> Signed[Revocations]:
        """Check a revocation list."""
        body = read_body(Revocations, envelope)
        return self._open(Revocations, envelope, body.kid, body.issued_at)

    def open_tree_head(self, envelope: Envelope) -> Signed[TreeHead]:
        """Check a head of the ledger."""
        body = read_body(TreeHead, envelope)
        return self._open(TreeHead, envelope, body.kid, body.issued_at)

    def open_index(self, envelope: Envelope) -> Signed[NodeIndex]:
        """Check the tracker's node index (its adverts are still to be checked one by one)."""
        body = read_body(NodeIndex, envelope)
        return self._open(NodeIndex, envelope, body.kid, body.issued_at)

    def open_grant(self, token: str, *, now: float) -> Grant:
        """Check a grant's signature and times.

        Raises:
            JobError: ``grant_invalid`` or ``grant_expired``.
        """
        kid = grant_key_id(token)
        public_key = next((key.public_key for key in self.keyset.body.keys if key.kid == kid), None)
        if public_key is None:
            raise job_error(ErrorCode.GRANT_INVALID, "The grant is signed by a key that this network does not have.")
        grant = read_grant(token, public_key=public_key, network=self.network, now=now)
        try:
            self.key(kid, grant.iat)  # a grant may outlive its key's retirement, but not be issued after it
        except Untrusted as error:
            raise job_error(ErrorCode.GRANT_INVALID, f"The grant does not verify: {error}") from error
        return grant


def check_advert(trust: Trust, advert: Signed[Advert], revocations: Revocations | None, *, now: float) -> None:
    """Check an advert's certificate and network (its own signature was checked when it was opened).

    Raises:
        Untrusted, ProtocolError: no valid, unrevoked certificate for this peer.
    """
    certificate = trust.open_certificate(advert.body.certificate, now=now).body
    if certificate.peer != advert.body.peer or advert.body.network != trust.network:
        raise Untrusted("The advert's certificate is for another peer or network.")
    if revocations is not None and certificate.serial in revocations.certificates:
        raise Untrusted("The node's certificate was revoked.")
