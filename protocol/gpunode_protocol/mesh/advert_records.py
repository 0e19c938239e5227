"""Adverts as DHT records: the mesh's validator for them, and the record of an advert."""

from gpunode_protocol.advert_validation import AdvertRecord, AdvertRejected, validate_advert_record
from gpunode_protocol.adverts import Advert, pack_advert
from gpunode_protocol.dht_keys import DhtKey
from gpunode_protocol.mesh.errors import RecordRejected
from gpunode_protocol.mesh.records import DhtRecord, ValidRecord
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Signed
from gpunode_protocol.trust import Trust


class AdvertValidator:
    """Accepts adverts that verify against the newest key set and revocations; ``content`` is the ``Signed[Advert]``.

    ``trust`` and ``revocations`` may be replaced at any time, when newer ones arrive.
    """

    def __init__(self, trust: Trust, revocations: Revocations | None = None) -> None:
        """Start with what is known of the network."""
        self.trust = trust
        self.revocations = revocations

    def validate(self, key: str, subkey: str, value: bytes, expires_at: float, now: float) -> ValidRecord:
        """Return the record of a valid advert; see ``RecordValidator``."""
        record = AdvertRecord(key=key, subkey=subkey, value=value, expires_at=expires_at)
        try:
            advert = validate_advert_record(record, self.trust, self.revocations, now=now)
        except AdvertRejected as error:
            raise RecordRejected(error.reason) from error
        return ValidRecord(
            peer_id=advert.body.peer,
            sequence=advert.body.sequence,
            expires_at=advert.body.expires_at,
            value=value,
            tombstone=advert.body.tombstone,
            content=advert,
        )


def record_of(key: DhtKey, advert: Signed[Advert]) -> DhtRecord:
    """Return the record under which an advert is announced.

    Raises:
        MalformedMessage: the advert is larger than 1,400 bytes.
    """
    return DhtRecord(
        key=str(key), subkey=advert.body.peer, value=pack_advert(advert.envelope), expires_at=advert.body.expires_at
    )
