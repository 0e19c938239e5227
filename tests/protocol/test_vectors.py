"""The golden vectors: the code makes every byte of them, and reads them back."""

import json
from pathlib import Path
from typing import Any

import pytest
from gpunode_protocol import canonical, tracker_api
from gpunode_protocol.advert_validation import AdvertRecord, validate_advert_record
from gpunode_protocol.adverts import Advert
from gpunode_protocol.certificates import Certificate
from gpunode_protocol.client_job import Completed
from gpunode_protocol.digests import Transcript, salted_digest
from gpunode_protocol.errors import NotCanonical
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.grants import grant_key_id, read_grant
from gpunode_protocol.identity import Identity, public_key_of
from gpunode_protocol.keyset import KeySet
from gpunode_protocol.ledger_entries import LedgerEntry
from gpunode_protocol.ledger_proofs import ReceiptProof, verify_receipt_proof
from gpunode_protocol.mesh import dialback
from gpunode_protocol.mesh.record_merge import unpack_entries
from gpunode_protocol.mesh.records import key_id_of, node_id_of, unpack_value
from gpunode_protocol.messages import CLIENT_FRAMES, NODE_FRAMES, PROBE_FRAMES, PROBE_REPLY_FRAMES, decode_frame
from gpunode_protocol.node_stream import NodeStream
from gpunode_protocol.payloads import PARAMS_OF
from gpunode_protocol.receipt_checks import check_pair
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Envelope, SignedBody, WireModel, open_signed
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import Link, Registration
from gpunode_protocol.tree_head import TreeHead
from gpunode_protocol.trust import NodeIndex
from gpunode_protocol.vouchers import Voucher

from tests.protocol.conversation import new_client
from tests.protocol.samples import NETWORK, NOW, signed_request, trust
from tests.vectors import examples, generate

MODELS: tuple[type[SignedBody], ...] = (
    Advert,
    Certificate,
    JobRequest,
    KeySet,
    Link,
    NodeIndex,
    Receipt,
    Registration,
    Revocations,
    TreeHead,
    Voucher,
)
MODEL_OF = {model.signature_type: model for model in MODELS}
ALL_FRAMES = {**CLIENT_FRAMES, **NODE_FRAMES, **PROBE_FRAMES, **PROBE_REPLY_FRAMES}


def _load(name: str) -> Any:
    return json.loads(generate.path_of(name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", list(generate.GROUPS))
def test_the_code_makes_every_byte(name: str) -> None:
    """The wire has not changed: what the code makes is what the file holds."""
    assert generate.render(name) == generate.path_of(name).read_text(encoding="utf-8")


def test_no_file_is_forgotten() -> None:
    """Every file belongs to a group."""
    assert {path.stem for path in generate.FOLDER.glob("*.json")} == set(generate.GROUPS)


@pytest.mark.parametrize("vector", _load("frames"), ids=lambda vector: vector["name"])
def test_frames_are_read(vector: dict[str, Any]) -> None:
    """Every frame's bytes say what the file says."""
    (payload,) = FrameParser().feed(bytes.fromhex(vector["bytes"]))
    message = decode_frame(payload, ALL_FRAMES)
    assert message.frame_type == vector["type"]
    assert generate.readable(message.to_map()) == vector["fields"]


def test_every_frame_type_has_a_vector() -> None:
    """No frame type is missing."""
    assert {vector["type"] for vector in _load("frames")} == set(ALL_FRAMES)


@pytest.mark.parametrize("vector", _load("signed_bodies"), ids=lambda vector: vector["name"])
def test_signed_bodies_are_read(vector: dict[str, Any]) -> None:
    """Every signed body verifies by its signer's key and says what the file says."""
    envelope = Envelope(body=bytes.fromhex(vector["body"]), signature=bytes.fromhex(vector["signature"]))
    signed = open_signed(MODEL_OF[vector["type"]], envelope, public_key_of(vector["signer"]))
    assert generate.readable(signed.body.to_map()) == vector["fields"]
    assert signed.digest.hex() == vector["digest"]
    assert generate.readable(canonical.decode(envelope.body)) == vector["fields"]


def test_every_signed_type_has_a_vector() -> None:
    """No signed type is missing."""
    assert {vector["type"] for vector in _load("signed_bodies")} == set(MODEL_OF)


def test_identities_are_read() -> None:
    """Keys, peer ids and files belong together."""
    for vector in _load("identities")["identities"]:
        identity = Identity.from_libp2p(bytes.fromhex(vector["file"]))
        assert identity.seed.hex() == vector["seed"]
        assert public_key_of(vector["peer_id"]).hex() == vector["public_key"]
        assert node_id_of(vector["peer_id"]).hex() == vector["dht_node_id"]


def test_canonical_bytes_are_read() -> None:
    """Canonical bytes say what the file says, others are refused."""
    vectors = _load("canonical")
    for vector in vectors["encoded"]:
        assert generate.readable(canonical.decode(bytes.fromhex(vector["bytes"]))) == vector["value"]
    for data in vectors["refused"]:
        with pytest.raises(NotCanonical):
            canonical.decode(bytes.fromhex(data))


def test_grants_are_read() -> None:
    """Every token verifies and claims what the file says."""
    vectors = _load("grants")
    for vector in vectors["grants"]:
        assert grant_key_id(vector["token"]) == vectors["kid"]
        key = bytes.fromhex(vectors["public_key"])
        grant = read_grant(vector["token"], public_key=key, network=NETWORK, now=vectors["now"])
        assert generate.readable(grant.model_dump(exclude_none=True)) == vector["claims"]


def test_digests_are_made() -> None:
    """Each step of the transcript has its digest."""
    vectors = _load("digests")
    salt = bytes.fromhex(vectors["salt"])
    for vector in vectors["salted"]:
        assert salted_digest(salt, vector["purpose"], bytes.fromhex(vector["data"])).hex() == vector["digest"]
    transcript = Transcript(salt)
    for step in vectors["transcript"]:
        match step["after"]:
            case {"tokens": tokens}:
                transcript.add_tokens(**tokens)
            case {"segment": segment}:
                transcript.add_segment(**segment)
            case {"blob": blob}:
                transcript.add_blob(blob["id"], bytes.fromhex(blob["digest"]["hex"]))
        assert transcript.digest().hex() == step["digest"]


def test_advert_records_are_read() -> None:
    """Every stored form belongs to its key and holds a valid advert."""
    vectors = _load("adverts")
    for vector in vectors["records"]:
        key, value = unpack_value(bytes.fromhex(vector["stored"]))
        assert (key, value.hex(), key_id_of(key).hex()) == (vector["key"], vectors["value"], vector["key_id"])
        expires_at = vectors["fields"]["expires_at"]
        record = AdvertRecord(key=key, subkey=vectors["subkey"], value=value, expires_at=expires_at)
        advert = validate_advert_record(record, trust(), None, now=NOW)
        assert generate.readable(advert.body.to_map()) == vectors["fields"]


def test_ledger_proof_is_read() -> None:
    """Receipt and voucher fit together, and the proof verifies under the root key."""
    vectors = _load("ledger")
    pair = [
        Envelope(body=bytes.fromhex(vectors[name]["body"]), signature=bytes.fromhex(vectors[name]["signature"]))
        for name in ("receipt", "voucher")
    ]
    receipt, voucher = check_pair(*pair)
    proof = ReceiptProof.model_validate_json(json.dumps(vectors["proof"]))
    verified = verify_receipt_proof(proof, bytes.fromhex(vectors["root_public_key"]))
    assert (verified.receipt, verified.voucher) == (receipt, voucher)
    assert verified.entry == LedgerEntry.from_leaf(bytes.fromhex(vectors["entry"]["bytes"]))


def test_job_stream_is_read() -> None:
    """Both machines understand the recorded stream; the client's vouchers are the recorded ones."""
    vectors = _load("job_stream")
    client, stream = new_client(signed_request()), NodeStream()
    to_say = client.data_to_send(0.0)
    events = []
    for line in vectors["stream"]:
        data = bytes.fromhex(line["bytes"])
        if line["from"] == "client":
            assert to_say.pop(0) == data
            assert len(stream.receive_data(data)) == 1
        else:
            events = client.receive_data(data, 0.0)
            to_say += client.data_to_send(0.0)
    assert [type(event) for event in events] == [Completed]
    assert to_say == []


def test_mesh_messages_are_read() -> None:
    """Dial-back frames say what the file says, and a look-up's reply holds a valid advert."""
    vectors = _load("mesh")
    for vector in vectors["dialback"]:
        assert generate.readable(dialback.decode_message(bytes.fromhex(vector["bytes"]))) == vector["fields"]
    entries = unpack_entries(bytes.fromhex(vectors["find_reply"]["bytes"]))
    assert len(entries) == vectors["find_reply"]["entries"]
    (peer, stored, expires_at) = entries[0]
    key, value = unpack_value(stored)
    record = AdvertRecord(key=key, subkey=peer, value=value, expires_at=expires_at)
    assert key == vectors["find_reply"]["key"]
    assert validate_advert_record(record, trust(), None, now=NOW).body.peer == peer


@pytest.mark.parametrize("vector", _load("rest"), ids=lambda vector: vector["name"])
def test_rest_bodies_are_read(vector: dict[str, Any]) -> None:
    """JSON becomes the body that it was made of."""
    model: type[WireModel] = getattr(tracker_api, vector["type"])
    assert model.model_validate_json(json.dumps(vector["json"])) == examples.REST[vector["name"]]


@pytest.mark.parametrize("task", Task)
def test_every_parameter_has_a_vector(task: Task) -> None:
    """A field that no vector shows is one that another client may encode otherwise."""
    shown = [vector["fields"] for vector in _load("signed_bodies") if vector["type"] == JobRequest.signature_type]
    names = {name for fields in shown if fields["task"] == task.value for name in fields["params"]}
    assert set(PARAMS_OF[task].model_fields) <= names


def test_generator_refuses_to_change_the_wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed file is overwritten with --update only; a missing one is written."""
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    monkeypatch.setattr(generate, "GROUPS", {"digests": generate.GROUPS["digests"]})
    monkeypatch.setattr("sys.argv", ["generate"])
    assert generate.main() == 0
    path = generate.path_of("digests")
    frozen = path.read_text(encoding="utf-8")
    path.write_text("{}", encoding="utf-8")
    assert generate.main() == 1
    assert path.read_text(encoding="utf-8") == "{}"
    monkeypatch.setattr("sys.argv", ["generate", "--update"])
    assert generate.main() == 0
    assert path.read_text(encoding="utf-8") == frozen
