"""Writes the golden vectors: fixed inputs, the bytes that they are on the wire, and what the bytes say.

``python -m tests.vectors.generate`` writes missing files and refuses to change others; with ``--update`` it overwrites
them, which means that the wire format has changed: peers in the field will not understand it.

In the files, bytes are ``{"hex": "…"}``; a vector's ``bytes`` is the hex of what travels.
"""

import argparse
import json
import sys
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from gpunode_protocol import canonical
from gpunode_protocol.adverts import pack_advert
from gpunode_protocol.dht_keys import DhtKey, keys_of_advert
from gpunode_protocol.digests import Transcript, salted_digest
from gpunode_protocol.grants import Cap
from gpunode_protocol.identity import Identity
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.merkle import leaf_hash
from gpunode_protocol.mesh import dialback
from gpunode_protocol.mesh.record_merge import pack_entries
from gpunode_protocol.mesh.record_store import StoredRecord
from gpunode_protocol.mesh.records import key_id_of, node_id_of, pack_value
from gpunode_protocol.messages import Frame, encode_frame
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed, SignedBody
from gpunode_protocol.tasks import Task

from tests.protocol import samples
from tests.protocol.conversation import Conversation
from tests.protocol.ledger_samples import completed_chat, receipt_proof
from tests.vectors.examples import FRAMES, REST, SIGNED

FOLDER = Path(__file__).parent


def readable(value: Any) -> Any:
    """Return a value as JSON can show it: bytes as ``{"hex": …}``, tuples as lists."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(readable(key)): readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [readable(item) for item in value]
    return value


def _identities() -> Any:
    people = {
        "root": samples.ROOT,
        "tracker": samples.TRACKER,
        "node": samples.NODE,
        "client": samples.CLIENT,
        "stranger": samples.STRANGER,
    }
    return {
        "identities": [
            {
                "name": name,
                "seed": identity.seed.hex(),
                "public_key": identity.public_key.hex(),
                "peer_id": identity.peer_id,
                "file": identity.to_libp2p().hex(),
                "signature_of_empty": identity.sign_bytes(b"").hex(),
                "dht_node_id": node_id_of(identity.peer_id).hex(),
            }
            for name, identity in people.items()
        ],
        "network": samples.NETWORK,
        "kid": samples.KID,
    }


def _canonical() -> Any:
    values: list[dict[str, Any]] = [
        {},
        {"b": 1, "a": 2, "é": 3, "Z": 4},
        {"ints": [0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1]},
        {"negative": [-1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**63)]},
        {"others": [None, True, False, "text", b"bytes", {"inner": []}]},
        {"long": "x" * 32, "bytes": bytes(256), "list": list(range(16))},
    ]
    refused = ["82a16201a16101", "82a16101a16101", "81a161cc01", "81a161cb3ff0000000000000", "81a161d40500", "9101"]
    return {
        "encoded": [{"value": readable(value), "bytes": canonical.encode(value).hex()} for value in values],
        "refused": refused,
    }


def _frame(name: str, message: Frame) -> Any:
    fields = readable(message.to_map())
    return {"name": name, "type": message.frame_type, "fields": fields, "bytes": encode_frame(message).hex()}


def _signed(name: str, signer: Identity, signed: Signed[SignedBody]) -> Any:
    return {
        "name": name,
        "type": signed.body.signature_type,
        "signer": signer.peer_id,
        "fields": readable(signed.body.to_map()),
        "body": signed.envelope.body.hex(),
        "signature": signed.envelope.signature.hex(),
        "digest": signed.digest.hex(),
    }


def _grants() -> Any:
    named = Cap(nodes={samples.NODE.peer_id: 2_000_000, samples.STRANGER.peer_id: 1_000_000})
    grants = {"open": samples.grant_claims(), "named": samples.grant_claims(cap=named, jti="grant-0002", priority=3)}
    return {
        "public_key": samples.TRACKER.public_key.hex(),
        "kid": samples.KID,
        "now": samples.NOW,
        "grants": [
            {
                "name": name,
                "claims": readable(grant.model_dump(exclude_none=True)),
                "token": samples.token_of(grant),
            }
            for name, grant in grants.items()
        ],
    }


def _digests() -> Any:
    transcript, steps = Transcript(samples.SALT), []
    steps.append({"after": "nothing", "digest": transcript.digest().hex()})
    transcript.add_tokens([1, 2**32 - 1], "é")
    steps.append({"after": {"tokens": {"ids": [1, 2**32 - 1], "text": "é"}}, "digest": transcript.digest().hex()})
    transcript.add_tokens([], "rest")
    steps.append({"after": {"tokens": {"ids": [], "text": "rest"}}, "digest": transcript.digest().hex()})
    transcript.add_segment(1_000, 2_500, "hi")
    segment = {"start_ms": 1_000, "end_ms": 2_500, "text": "hi"}
    steps.append({"after": {"segment": segment}, "digest": transcript.digest().hex()})
    transcript.add_blob(255, b"\x11" * 32)
    blob = {"id": 255, "digest": {"hex": "11" * 32}}
    steps.append({"after": {"blob": blob}, "digest": transcript.digest().hex()})
    salted = [
        {"purpose": purpose, "data": b"data".hex(), "digest": salted_digest(samples.SALT, purpose, b"data").hex()}
        for purpose in ("request", "prompt", "blob")
    ]
    return {"salt": samples.SALT.hex(), "salted": salted, "transcript": steps}


def _adverts() -> Any:
    advert = samples.signed_advert()
    keys = keys_of_advert(samples.NETWORK, Task.LLM, "smollm2-135m", Region.EUROPE, samples.NODE.peer_id, (0, 3))
    everyone = DhtKey(samples.NETWORK, None, "*", Region.EUROPE, 0, "-", "de")
    value = pack_advert(advert.envelope)
    return {
        "fields": readable(advert.body.to_map()),
        "value": value.hex(),
        "subkey": advert.body.peer,
        "records": [
            {"key": str(key), "key_id": key_id_of(str(key)).hex(), "stored": pack_value(str(key), value).hex()}
            for key in (*keys, everyone)
        ],
    }


def _ledger() -> Any:
    chat = completed_chat()
    proof: ReceiptProof = receipt_proof(chat)
    return {
        "root_public_key": samples.ROOT.public_key.hex(),
        "receipt": _signed("receipt", samples.NODE, chat.receipt),
        "voucher": _signed("voucher", samples.CLIENT, chat.voucher),
        "entry": {
            "fields": readable(canonical.decode(proof.entry)),
            "bytes": proof.entry.hex(),
            "leaf_hash": leaf_hash(proof.entry).hex(),
        },
        "proof": json.loads(proof.model_dump_json()),
    }


def _job_stream() -> Any:
    """Return a whole chat of 66 tokens: what each side writes, in order."""
    talk = Conversation(samples.signed_request())
    steps: list[Callable[[], Any]] = [talk.accept, *[partial(_say, talk, number) for number in range(66)], talk.finish]
    lines = [{"from": "client", "bytes": encode_frame(talk.node_events[0]).hex()}]
    for step in steps:
        frames, events = len(talk.node.frames), len(talk.node_events)
        step()
        lines += [{"from": "node", "bytes": data.hex()} for data in talk.node.frames[frames:]]
        lines += [{"from": "client", "bytes": encode_frame(event).hex()} for event in talk.node_events[events:]]
    return {"client": samples.CLIENT.peer_id, "node": samples.NODE.peer_id, "stream": lines}


def _say(talk: Conversation, number: int) -> None:
    talk.node.tokens([number], f"t{number} ", now=0.0)
    talk.node_sends()


def _mesh() -> Any:
    """Return what peers say to each other beside job and probe streams."""
    nonce = bytes(range(16))
    frames = {
        "dial back": {"nonce": nonce, "port": 4001},
        "dialled back": {"nonce": nonce, "observed": "11.0.0.7", "reachable": True},
    }
    advert = samples.signed_advert()
    key = str(keys_of_advert(samples.NETWORK, Task.LLM, "smollm2-135m", Region.EUROPE, samples.NODE.peer_id, (0,))[0])
    stored = StoredRecord(
        peer_id=advert.body.peer,
        sequence=advert.body.sequence,
        expires_at=advert.body.expires_at,
        packed=pack_value(key, pack_advert(advert.envelope)),
    )
    return {
        "dialback": [
            {"name": name, "fields": readable(fields), "bytes": dialback.encode_message(fields).hex()}
            for name, fields in frames.items()
        ],
        "find_reply": {"key": key, "entries": 1, "bytes": pack_entries([stored]).hex()},
    }


def _rest() -> Any:
    return [
        {"name": name, "type": type(body).__name__, "json": json.loads(body.model_dump_json(exclude_none=True))}
        for name, body in REST.items()
    ]


GROUPS: dict[str, Callable[[], Any]] = {
    "identities": _identities,
    "canonical": _canonical,
    "frames": lambda: [_frame(name, message) for name, message in FRAMES.items()],
    "signed_bodies": lambda: [_signed(name, signer, signed) for name, (signer, signed) in SIGNED.items()],
    "grants": _grants,
    "digests": _digests,
    "adverts": _adverts,
    "ledger": _ledger,
    "job_stream": _job_stream,
    "mesh": _mesh,
    "rest": _rest,
}


def render(name: str) -> str:
    """Return the text of one file."""
    return json.dumps(GROUPS[name](), indent=1, ensure_ascii=False) + "\n"


def path_of(name: str) -> Path:
    """Return where a group is kept."""
    return FOLDER / f"{name}.json"


def main() -> int:
    """Write the files; return 1 when one would have to change and must not."""
    parser = argparse.ArgumentParser(description="Write the golden vectors of the wire format.")
    parser.add_argument("--update", action="store_true", help="overwrite: the wire format has changed")
    update = parser.parse_args().update
    refused = []
    for name in GROUPS:
        path, text = path_of(name), render(name)
        if path.exists() and path.read_text(encoding="utf-8") != text and not update:
            refused.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    if refused:
        sys.stderr.write(
            f"{', '.join(refused)}: the code makes other bytes; --update overwrites what froze the wire.\n"
        )
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
