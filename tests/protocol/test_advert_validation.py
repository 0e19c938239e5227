"""Whether a DHT record may be stored or believed."""

from dataclasses import replace
from typing import Any

import pytest
from gpunode_protocol.advert_validation import AdvertRecord, AdvertRejected, validate_advert_record
from gpunode_protocol.adverts import MAX_ADVERT_AHEAD_S, Advert, pack_advert
from gpunode_protocol.dht_keys import DhtKey, keys_of_advert, shard_of
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tasks import Task

from tests.protocol.samples import (
    NETWORK,
    NODE,
    NOW,
    OTHER_NETWORK,
    STRANGER,
    advert_body,
    certificate,
    revocations,
    signed_advert,
    trust,
)

TRUST = trust()
KEY = DhtKey(NETWORK, Task.LLM, "smollm2-135m", Region.EUROPE, 0, "-")


def _record(advert: Signed[Advert] | None = None, **changes: Any) -> AdvertRecord:
    advert = advert or signed_advert()
    fields = {
        "key": str(KEY),
        "subkey": advert.body.peer,
        "value": pack_advert(advert.envelope),
        "expires_at": float(advert.body.expires_at),
    }
    return AdvertRecord(**{**fields, **changes})


def _reason(record: AdvertRecord, now: float = NOW, **changes: Any) -> str:
    with pytest.raises(AdvertRejected) as caught:
        validate_advert_record(record, changes.get("trust", TRUST), changes.get("revocations"), now=now)
    assert caught.value.reason in str(caught.value)
    return caught.value.reason


def test_valid_under_all_its_keys() -> None:
    """An advert is valid under every key that it is stored under, for any number of shards."""
    keys = keys_of_advert(NETWORK, Task.LLM, "smollm2-135m", Region.EUROPE, NODE.peer_id, (0, 1, 5, 16))
    for key in (*keys, replace(keys[0], country="de")):
        record = _record(key=str(key))
        assert validate_advert_record(record, TRUST, revocations().body, now=NOW) == signed_advert()


@pytest.mark.parametrize(
    "key",
    [
        DhtKey(OTHER_NETWORK, Task.LLM, "smollm2-135m", Region.EUROPE, 0, "-"),
        DhtKey(NETWORK, Task.WHISPER, "smollm2-135m", Region.EUROPE, 0, "-"),
        DhtKey(NETWORK, Task.LLM, "other", Region.EUROPE, 0, "-"),
        DhtKey(NETWORK, Task.LLM, "smollm2-135m", Region.ASIA, 0, "-"),
        DhtKey(NETWORK, Task.LLM, "smollm2-135m", Region.EUROPE, 0, "-", "fr"),
        DhtKey(NETWORK, None, "smollm2-135m", Region.EUROPE, 0, "-"),
        DhtKey(NETWORK, Task.LLM, "*", Region.EUROPE, 0, shard_of(NODE.peer_id, 3)[::-1] + "0"),
        DhtKey(NETWORK, Task.LLM, "*", Region.EUROPE, 0, "1" if shard_of(NODE.peer_id, 1) == "0" else "0"),
    ],
    ids=str,
)
def test_other_keys(key: DhtKey) -> None:
    """Under a key of another network, task, model, region or shard an advert is refused."""
    assert _reason(_record(key=str(key))) == "key"


def test_key_that_is_none() -> None:
    """A key of another protocol holds no adverts."""
    assert _reason(_record(key="something/else")) == "malformed"


def test_foreign_subkey() -> None:
    """An advert replayed under another peer's subkey is refused."""
    assert _reason(_record(subkey=STRANGER.peer_id)) == "subkey"
    assert _reason(_record(subkey=NODE.peer_id + "\n")) == "subkey"


def test_forged() -> None:
    """An advert that its peer did not sign is refused."""
    assert _reason(_record(sign(STRANGER, advert_body()))) == "malformed"


def test_garbage() -> None:
    """Bytes that are no advert are refused."""
    assert _reason(_record(value=b"\xff" * 100)) == "malformed"
    assert _reason(_record(value=b"\0" * 1_401)) == "malformed"


def test_certificates() -> None:
    """Another peer's, an expired, a revoked and a self-made certificate are refused."""
    assert _reason(_record(signed_advert(certificate=certificate(peer=STRANGER.peer_id).envelope))) == "certificate"
    old = certificate(issued_at=NOW - 604_800, expires_at=NOW - 1)
    assert _reason(_record(signed_advert(certificate=old.envelope))) == "certificate"
    listed = revocations(certificates=(certificate().body.serial,)).body
    assert _reason(_record(), revocations=listed) == "certificate"
    own = sign(NODE, certificate().body)
    assert _reason(_record(signed_advert(certificate=own.envelope))) == "malformed"


def test_record_expires_as_signed() -> None:
    """The record's own expiry is the signed one, whatever a stranger made of it."""
    for expires_at in (NOW + 151.0, NOW + 150.5, float("inf"), float("nan"), 0.0):
        assert _reason(_record(expires_at=expires_at)) == "expiry"


def test_long_lived() -> None:
    """No advert may live longer than 180 s from now."""
    assert validate_advert_record(_record(signed_advert(expires_at=NOW + MAX_ADVERT_AHEAD_S)), TRUST, None, now=NOW)
    assert _reason(_record(signed_advert(expires_at=NOW + MAX_ADVERT_AHEAD_S + 1))) == "long_lived"


def test_expired() -> None:
    """At its expiry an advert is over."""
    assert _reason(_record(), now=NOW + 150) == "expired"


def test_tombstone() -> None:
    """A tombstone is an advert like others."""
    record = _record(signed_advert(tombstone=True, sequence=8))
    assert validate_advert_record(record, TRUST, None, now=NOW).body.tombstone
