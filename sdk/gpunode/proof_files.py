"""Receipt proofs in files, and checking them without any network."""

import json
from pathlib import Path

from gpunode_protocol.errors import GpunodeError, ProtocolError, Untrusted, VerificationFailed
from gpunode_protocol.ledger_proofs import ReceiptProof, VerifiedReceipt, verify_receipt_proof
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.signing import read_body
from pydantic import ValidationError

from gpunode._state import StateDir
from gpunode.errors import InvalidRequest


def write_proof(path: Path, proof: ReceiptProof) -> None:
    """Write a proof as JSON."""
    path.write_text(proof.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_proof(path: Path) -> ReceiptProof:
    """Read a proof.

    Raises:
        VerificationFailed: not a proof, or not written exactly as ``write_proof`` writes it: base64 could otherwise
            be changed without changing the bytes that it stands for.
    """
    try:
        value = json.loads(path.read_bytes())
        proof = ReceiptProof.model_validate_json(json.dumps(value))
    except (ValueError, ValidationError, RecursionError) as error:
        raise VerificationFailed(f"{path} is not a receipt proof, or it was changed.") from error
    if json.loads(proof.model_dump_json()) != value:
        raise VerificationFailed(f"{path} was changed: it has more than a receipt proof, or writes it differently.")
    return proof


def verify_proof(proof: ReceiptProof, *, root_key: str | None, state_dir: Path | None) -> VerifiedReceipt:
    """Check a proof against the root key that is given (64 hex digits) or was pinned for its network.

    Raises:
        VerificationFailed: what does not hold. InvalidRequest: no root key to check against.
    """
    root = _parse_root_key(root_key) if root_key is not None else _pinned_root(proof, state_dir)
    try:
        return verify_receipt_proof(proof, root)
    except (ProtocolError, Untrusted) as error:
        raise VerificationFailed(f"The proof does not verify: {error}") from error


def _parse_root_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise InvalidRequest("A root key has 64 hex digits; 'gpunode tracker show' prints it.")
    return key


def _pinned_root(proof: ReceiptProof, state_dir: Path | None) -> bytes:
    try:
        network = read_body(Receipt, proof.receipt).network
    except GpunodeError as error:
        raise VerificationFailed(f"The proof does not verify: {error}") from error
    root = StateDir(state_dir).pinned_roots().get(network)
    if root is None:
        raise InvalidRequest(
            f"No root key of network {network} is pinned here. Use the network once with 'gpunode chat', or give its "
            "key: --root-key HEX."
        )
    return root
