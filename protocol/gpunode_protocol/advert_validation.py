"""Whether a DHT record may be stored or believed: every storing node and every reader asks this."""

from dataclasses import dataclass

from gpunode_protocol.adverts import MAX_ADVERT_AHEAD_S, Advert, unpack_advert
from gpunode_protocol.dht_keys import ANY_MODEL, DhtKey, parse_key, shard_of
from gpunode_protocol.errors import GpunodeError, ProtocolError, Untrusted
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Signed
from gpunode_protocol.trust import Trust, check_advert


class AdvertRejected(GpunodeError):
    """This advert is not acceptable. ``reason`` is a short stable word for counters."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep the counter's word and say it with the detail."""
        super().__init__(f"advert rejected: {reason}" + (f" ({detail})" if detail else ""))
        self.reason = reason


@dataclass(frozen=True)
class AdvertRecord:
    """A DHT record as it arrived: key text, subkey (the peer id), value and the record's own expiry in Unix seconds."""

    key: str
    subkey: str
    value: bytes
    expires_at: float


def validate_advert_record(
    record: AdvertRecord, trust: Trust, revocations: Revocations | None, *, now: float
) -> Signed[Advert]:
    """Check size, signature, certificate, subkey, key and expiry of a record; ``now``: Unix seconds.

    Raises:
        AdvertRejected: with the reason.
    """
    try:
        advert = unpack_advert(record.value)
        check_advert(trust, advert, revocations, now=now)
        key = parse_key(record.key)
    except Untrusted as error:
        raise AdvertRejected("certificate", str(error)) from error
    except ProtocolError as error:
        raise AdvertRejected("malformed", str(error)) from error
    body = advert.body
    if record.subkey != body.peer:
        raise AdvertRejected("subkey")
    if not _fits(key, body):
        raise AdvertRejected("key")
    if record.expires_at != body.expires_at:
        raise AdvertRejected("expiry", "the record's expiry is not the signed one")
    if body.expires_at > now + MAX_ADVERT_AHEAD_S:
        raise AdvertRejected("long_lived")
    if body.expires_at <= now:
        raise AdvertRejected("expired")
    return advert


def _fits(key: DhtKey, advert: Advert) -> bool:
    """Whether an advert belongs under a key."""
    bits = 0 if key.shard == "-" else len(key.shard)
    return (
        key.network == advert.network
        and key.region == advert.region
        and key.country in {"", advert.country.lower()}
        and key.task in {None, advert.model.task}
        and key.model in {ANY_MODEL, advert.model.name}
        and (key.task is not None or key.model == ANY_MODEL)
        and key.shard == shard_of(advert.peer, bits)
    )
