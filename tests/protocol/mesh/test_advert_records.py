from collections.abc import Callable
from typing import Any

import pytest
from gpunode_protocol.adverts import Advert, pack_advert
from gpunode_protocol.dht_keys import DhtKey, keys_of_advert
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh.advert_records import AdvertValidator, record_of
from gpunode_protocol.mesh.errors import RecordRejected
from gpunode_protocol.mesh.record_merge import RecordMerge
from gpunode_protocol.mesh.records import DhtRecord, ValidRecord, check_record, key_id_of, pack_value
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

KEYS = keys_of_advert(NETWORK, Task.LLM, "smollm2-135m", Region.EUROPE, NODE.peer_id, (0,))


def check(record: DhtRecord, *, subkey: PeerId | None = None, stored_under: str = "", **changes: Any) -> ValidRecord:
    """Judge a record as a storing node does; ``changes`` replace what the envelope claims."""
    validator = AdvertValidator(trust(), changes.pop("revoked", None))
    packed = pack_value(record.key, record.value)
    claimed = changes.pop("expires_at", record.expires_at)
    return check_record(validator, key_id_of(stored_under or record.key), subkey or record.subkey, packed, claimed, NOW)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_advert_is_valid_under_each_of_its_keys(key: DhtKey) -> None:
    """Both salts of model, task and region; the validator hands the decoded advert on."""
    advert = signed_advert()
    valid = check(record_of(key, advert))
    assert (valid.peer_id, valid.sequence, valid.tombstone) == (NODE.peer_id, 7, False)
    assert valid.content == advert


def test_tombstone_is_a_valid_record() -> None:
    """A farewell is stored like any other advert."""
    assert check(record_of(KEYS[0], signed_advert(tombstone=True, sequence=8))).tombstone


def _signed_by_stranger() -> Signed[Advert]:
    return sign(STRANGER, advert_body())


def _with_foreign_certificate() -> Signed[Advert]:
    return sign(STRANGER, advert_body(peer=STRANGER.peer_id))


@pytest.mark.parametrize(
    "advert",
    [
        _signed_by_stranger,
        _with_foreign_certificate,
        lambda: signed_advert(certificate=sign(STRANGER, certificate().body).envelope),
        lambda: signed_advert(certificate=certificate(expires_at=NOW - 1, issued_at=NOW - 1_000).envelope),
        lambda: signed_advert(network=OTHER_NETWORK),
        lambda: signed_advert(expires_at=NOW + 10 * 365 * 86_400),
        lambda: signed_advert(expires_at=NOW - 1),
        lambda: signed_advert(region=Region.ASIA),
    ],
    ids=["forged", "stolen certificate", "forged certificate", "old certificate", "network", "long", "old", "region"],
)
def test_bad_advert_is_refused(advert: Callable[[], Signed[Advert]]) -> None:
    """Forged, long-lived, expired, without a valid certificate, for another network or region."""
    with pytest.raises(RecordRejected):
        check(record_of(KEYS[0], advert()))


def test_advert_under_anothers_subkey_is_refused() -> None:
    """Nobody appears under two names."""
    with pytest.raises(RecordRejected, match="subkey"):
        check(record_of(KEYS[0], signed_advert()), subkey=STRANGER.peer_id)


def test_advert_under_another_key_is_refused() -> None:
    """Neither under another model's topic, nor under a hash that is not its key's."""
    other = keys_of_advert(NETWORK, Task.LLM, "qwen2.5-7b", Region.EUROPE, NODE.peer_id, (0,))[0]
    with pytest.raises(RecordRejected, match="key"):
        check(record_of(other, signed_advert()))
    with pytest.raises(RecordRejected, match="wrong_key"):
        check(record_of(KEYS[0], signed_advert()), stored_under=str(KEYS[1]))


def test_envelope_cannot_lengthen_a_life() -> None:
    """The record's expiry is the signed one."""
    with pytest.raises(RecordRejected, match="expiry"):
        check(record_of(KEYS[0], signed_advert()), expires_at=NOW + 170)


def test_revoked_certificate_ends_the_adverts() -> None:
    """The newest revocations count, also for adverts that were fine before."""
    record = record_of(KEYS[0], signed_advert())
    serial = certificate().body.serial
    with pytest.raises(RecordRejected, match="certificate"):
        check(record, revoked=revocations(certificates=(serial,)).body)


def test_oversized_advert_is_neither_announced_nor_accepted() -> None:
    """1,400 bytes, whatever the DHT would take."""
    advert = signed_advert(addresses=tuple(f"/dns4/{'x' * 140}{number}/tcp/1" for number in range(8)))
    with pytest.raises(MalformedMessage):
        record_of(KEYS[0], advert)
    with pytest.raises(MalformedMessage):
        pack_advert(advert.envelope)
    with pytest.raises(RecordRejected, match="malformed"):
        AdvertValidator(trust()).validate(str(KEYS[0]), NODE.peer_id, bytes(1_401), NOW + 100, NOW)


def test_replayed_advert_does_not_hide_the_newer_one() -> None:
    """A reader that gets both takes the newer."""
    merge = RecordMerge(AdvertValidator(trust()), key_id_of(str(KEYS[0])), NOW)
    for sequence in (8, 7):
        record = record_of(KEYS[0], signed_advert(sequence=sequence))
        merge.add([(record.subkey, pack_value(record.key, record.value), record.expires_at)])
    assert [record.sequence for record in merge.records()] == [8]
