import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpunode.errors import GpunodeError, InvalidRequest, VerificationFailed
from gpunode.proof_files import read_proof, verify_proof, write_proof
from gpunode_protocol.identity import Identity
from gpunode_protocol.ledger_proofs import ReceiptProof

from tests.sdk.world import World

#: Every part of a proof that consists of bytes.
PARTS = (
    *(f"{part}.{half}" for part in ("receipt", "voucher", "head", "keyset") for half in ("body", "signature")),
    "entry",
    "path.0",
    "path.2",
)


def _root(world: World) -> str:
    return world.keys.root.public_key.hex()


def _with_changed_bit(proof: ReceiptProof, part: str, position: int) -> ReceiptProof:
    """Return the proof with one bit of a part turned over."""
    value: Any = proof.model_dump()
    *way, last = [int(step) if step.isdecimal() else step for step in part.split(".")]
    place = value
    for step in way:
        place[step] = list(place[step]) if isinstance(place[step], tuple) else place[step]
        place = place[step]
    data = bytearray(place[last])
    data[position] ^= 1 << position % 8
    place[last] = bytes(data)
    value["path"] = tuple(value["path"])
    return ReceiptProof.model_validate(value)


def _size(proof: ReceiptProof, part: str) -> int:
    value: Any = proof.model_dump()
    for step in part.split("."):
        value = value[int(step) if step.isdecimal() else step]
    return len(value)


async def test_a_proof_verifies_without_network(world: World, proof: ReceiptProof, tmp_path: Path) -> None:
    """From a file, against the key that is given or the one that was pinned at first contact."""
    write_proof(tmp_path / "proof.json", proof)
    read = read_proof(tmp_path / "proof.json")
    assert read == proof
    given = verify_proof(read, root_key=_root(world), state_dir=None)
    pinned = verify_proof(read, root_key=None, state_dir=world.folder / "client")
    assert given.receipt.digest == pinned.receipt.digest
    assert given.entry.kind == "settle"


@pytest.mark.parametrize("part", PARTS)
async def test_one_changed_bit_anywhere_is_found(world: World, proof: ReceiptProof, part: str) -> None:
    """Receipt, voucher, entry, path, head and key set, body and signature: every byte of them."""
    root = _root(world)
    for position in range(_size(proof, part)):
        with pytest.raises(GpunodeError):
            verify_proof(_with_changed_bit(proof, part, position), root_key=root, state_dir=None)


async def test_a_wrong_place_in_the_log_is_found(world: World, proof: ReceiptProof) -> None:
    """The index is proven too."""
    for index in (0, 3, 5, 7):
        with pytest.raises(VerificationFailed):
            verify_proof(proof.model_copy(update={"index": index}), root_key=_root(world), state_dir=None)


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.full)])
async def test_one_changed_character_of_the_file_is_found(
    world: World, proof: ReceiptProof, tmp_path: Path, step: int
) -> None:
    """Base64 has spare bits; a file that uses them is refused although the bytes would be the same."""
    path = tmp_path / "proof.json"
    write_proof(path, proof)
    original = path.read_bytes()
    for changed in _files_with_a_changed_bit(original.rstrip(b"\n"), step):
        path.write_bytes(changed)
        with pytest.raises(GpunodeError):
            verify_proof(read_proof(path), root_key=_root(world), state_dir=None)


def _files_with_a_changed_bit(data: bytes, step: int) -> Iterator[bytes]:
    for position in range(0, len(data), step):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 3
        yield bytes(changed)


async def test_things_added_to_the_file_are_found(proof: ReceiptProof, tmp_path: Path) -> None:
    """An unknown key is not part of a proof."""
    path = tmp_path / "proof.json"
    path.write_text(json.dumps({**json.loads(proof.model_dump_json()), "note": "paid"}), encoding="utf-8")
    with pytest.raises(VerificationFailed, match="more than"):
        read_proof(path)
    for content in ("", "[]", "{}", "\x00", "[" * 100_000):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(VerificationFailed, match="not a receipt proof"):
            read_proof(path)


async def test_without_a_root_key_nothing_is_believed(proof: ReceiptProof, tmp_path: Path) -> None:
    """The key comes from the user or from first contact, never from the proof."""
    with pytest.raises(InvalidRequest, match="--root-key"):
        verify_proof(proof, root_key=None, state_dir=tmp_path / "empty")
    with pytest.raises(InvalidRequest, match="64 hex digits"):
        verify_proof(proof, root_key="abc", state_dir=None)
    other = Identity.from_seed(b"\x31" * 32).public_key.hex()
    with pytest.raises(VerificationFailed):
        verify_proof(proof, root_key=other, state_dir=None)
