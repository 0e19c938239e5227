"""Merkle tree hashes and proofs in the shape of RFC 6962 §2.1 (https://www.rfc-editor.org/rfc/rfc6962#section-2.1).

Verification follows RFC 9162 §2.1.3.2 and §2.1.4.2, which state the same trees' algorithms.
"""

import hashlib
from collections.abc import Callable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Tree hash of no leaves."""

HashRange = Callable[[int, int], bytes]
"""``(start, end)`` -> Merkle tree hash of the leaves ``start <= i < end``; lets a store answer from cached nodes."""


def leaf_hash(data: bytes) -> bytes:
    """Return the 32-byte hash of a leaf's data."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """Return the largest power of two smaller than ``size`` (size >= 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def tree_hash(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of leaf hashes."""
    if not leaf_hashes:
        return EMPTY_ROOT
    return hash_range(leaf_hashes)(0, len(leaf_hashes))


def hash_range(leaf_hashes: Sequence[bytes]) -> HashRange:
    """Return the range hasher of leaf hashes held in memory."""

    def ranged(start: int, end: int) -> bytes:
        if end - start == 1:
            return leaf_hashes[start]
        middle = start + _split(end - start)
        return node_hash(ranged(start, middle), ranged(middle, end))

    return ranged


def inclusion_proof(index: int, size: int, ranged: HashRange) -> list[bytes]:
    """Return the audit path of leaf ``index`` in a tree of ``size`` leaves, deepest sibling first.

    Raises:
        ValueError: ``index`` is not in the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(ranged(middle, end))
            end = middle
        else:
            path.append(ranged(start, middle))
            start = middle
    return path[::-1]


def consistency_proof(old_size: int, size: int, ranged: HashRange) -> list[bytes]:
    """Return the proof that the first ``old_size`` of ``size`` leaves are unchanged (RFC 6962 §2.1.2).

    Raises:
        ValueError: not ``0 < old_size <= size``.
    """
    if not 0 < old_size <= size:
        raise ValueError(f"no consistency proof from {old_size} to {size} leaves")

    def subproof(count: int, start: int, end: int, whole: bool) -> list[bytes]:
        if count == end - start:
            return [] if whole else [ranged(start, end)]
        middle = start + _split(end - start)
        if count <= middle - start:
            return [*subproof(count, start, middle, whole), ranged(middle, end)]
        return [*subproof(count - (middle - start), middle, end, False), ranged(start, middle)]

    return subproof(old_size, 0, size, True)


def inclusion_is_valid(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows that the leaf hash ``leaf`` is number ``index`` under ``root`` of ``size`` leaves."""
    if not 0 <= index < size:
        return False
    first, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            current = node_hash(sibling, current)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            current = node_hash(current, sibling)
        first >>= 1
        last >>= 1
    return last == 0 and current == root


def consistency_is_valid(old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree under ``root`` extends the tree under ``old_root``."""
    if old_size == size:
        return old_root == root and not proof
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    if not 0 < old_size < size or not proof:
        return False
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    first, last = old_size - 1, size - 1
    while first & 1:
        first >>= 1
        last >>= 1
    old, new = path[0], path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        first >>= 1
        last >>= 1
    return last == 0 and old == old_root and new == root
