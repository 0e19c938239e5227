"""Merkle trees against RFC 6962's definitions, written again here, and its reference vectors."""

import hashlib

import pytest
from gpunode_protocol.merkle import (
    EMPTY_ROOT,
    consistency_is_valid,
    consistency_proof,
    hash_range,
    inclusion_is_valid,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_hash,
)
from hypothesis import given
from hypothesis import strategies as st

#: The leaves of the reference vectors of Certificate Transparency's own tests.
REFERENCE_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
#: Root of the first 1, 2, … 8 of them.
REFERENCE_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
#: (leaf, tree size) -> audit path.
REFERENCE_INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
#: (old size, new size) -> consistency proof.
REFERENCE_CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


# RFC 6962 section 2.1, word for word and without thought of speed.


def naive_root(data: list[bytes]) -> bytes:
    """MTH(D[n])."""
    if not data:
        return hashlib.sha256().digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = _largest_power_of_two_below(len(data))
    return hashlib.sha256(b"\x01" + naive_root(data[:k]) + naive_root(data[k:])).digest()


def naive_path(m: int, data: list[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(data) == 1:
        return []
    k = _largest_power_of_two_below(len(data))
    if m < k:
        return [*naive_path(m, data[:k]), naive_root(data[k:])]
    return [*naive_path(m - k, data[k:]), naive_root(data[:k])]


def naive_proof(m: int, data: list[bytes], *, complete: bool = True) -> list[bytes]:
    """PROOF(m, D[n]), by way of SUBPROOF(m, D[n], b)."""
    if m == len(data):
        return [] if complete else [naive_root(data)]
    k = _largest_power_of_two_below(len(data))
    if m <= k:
        return [*naive_proof(m, data[:k], complete=complete), naive_root(data[k:])]
    return [*naive_proof(m - k, data[k:], complete=False), naive_root(data[:k])]


def _largest_power_of_two_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def _hashes(data: list[bytes]) -> list[bytes]:
    return [leaf_hash(item) for item in data]


def _leaves(size: int) -> list[bytes]:
    return [f"leaf {number}".encode() for number in range(size)]


def test_reference_roots() -> None:
    """The published roots of the reference leaves, also by the definition."""
    assert [naive_root(REFERENCE_LEAVES[:size]).hex() for size in range(1, 9)] == REFERENCE_ROOTS
    assert [tree_hash(_hashes(REFERENCE_LEAVES[:size])).hex() for size in range(1, 9)] == REFERENCE_ROOTS


def test_empty_tree() -> None:
    """The tree of no leaves has the hash of nothing."""
    assert tree_hash([]) == EMPTY_ROOT == naive_root([])
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(("place", "path"), REFERENCE_INCLUSION.items(), ids=str)
def test_reference_inclusion(place: tuple[int, int], path: list[str]) -> None:
    """The published audit paths are made and verify."""
    index, size = place
    hashes = _hashes(REFERENCE_LEAVES[:size])
    proof = inclusion_proof(index, size, hash_range(hashes))
    assert [item.hex() for item in proof] == path
    assert [item.hex() for item in naive_path(index, REFERENCE_LEAVES[:size])] == path
    assert inclusion_is_valid(index, size, hashes[index], proof, bytes.fromhex(REFERENCE_ROOTS[size - 1]))


@pytest.mark.parametrize(("sizes", "path"), REFERENCE_CONSISTENCY.items(), ids=str)
def test_reference_consistency(sizes: tuple[int, int], path: list[str]) -> None:
    """The published consistency proofs are made and verify."""
    old, new = sizes
    proof = consistency_proof(old, new, hash_range(_hashes(REFERENCE_LEAVES)))
    assert [item.hex() for item in proof] == path
    assert [item.hex() for item in naive_proof(old, REFERENCE_LEAVES[:new])] == path
    roots = [bytes.fromhex(root) for root in REFERENCE_ROOTS]
    assert consistency_is_valid(old, new, roots[old - 1], roots[new - 1], proof)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33])
def test_every_proof_of_small_trees(size: int) -> None:
    """All inclusion and consistency proofs are those of the definition and verify."""
    data = _leaves(size)
    hashes, root = _hashes(data), naive_root(data)
    ranged = hash_range(hashes)
    for index in range(size):
        proof = inclusion_proof(index, size, ranged)
        assert proof == naive_path(index, data)
        assert inclusion_is_valid(index, size, hashes[index], proof, root)
    for old in range(1, size + 1):
        path = consistency_proof(old, size, ranged)
        assert path == naive_proof(old, data)
        assert consistency_is_valid(old, size, naive_root(data[:old]), root, path)


def test_every_proof_fails_elsewhere() -> None:
    """A proof shows one leaf at one place of one tree and nothing else."""
    size = 11
    hashes = _hashes(_leaves(size))
    ranged, root = hash_range(hashes), tree_hash(hashes)
    for index in range(size):
        proof = inclusion_proof(index, size, ranged)
        for other in set(range(-1, size + 2)) - {index}:
            assert not inclusion_is_valid(other, size, hashes[index], proof, root)
        assert not inclusion_is_valid(index, size, hashes[index], proof[:-1], root)
        assert not inclusion_is_valid(index, size, hashes[index], [*proof, root], root)
        assert not inclusion_is_valid(index, size, hashes[(index + 1) % size], proof, root)
        assert not inclusion_is_valid(index, size, hashes[index], proof, tree_hash(hashes[:-1]))


def test_every_consistency_proof_fails_elsewhere() -> None:
    """A consistency proof fits one pair of trees only."""
    size = 11
    hashes = _hashes(_leaves(size))
    roots = [tree_hash(hashes[:count]) for count in range(size + 1)]
    for old in range(1, size):
        proof = consistency_proof(old, size, hash_range(hashes))
        for other in range(1, size):
            valid = consistency_is_valid(other, size, roots[other], roots[size], proof)
            assert valid == (other == old)
        assert not consistency_is_valid(old, size, roots[old], roots[size - 1], proof)
        assert not consistency_is_valid(old, size, roots[size], roots[old], proof)
        assert not consistency_is_valid(old, size, roots[old], roots[size], proof[:-1])
        assert not consistency_is_valid(old, size, roots[old], roots[size], [*proof, roots[1]])


@given(st.integers(1, 200), st.data())
def test_changed_bits(size: int, data: st.DataObject) -> None:
    """One bit changed in leaf, path or root fails."""
    hashes = _hashes(_leaves(size))
    index = data.draw(st.integers(0, size - 1))
    parts = [hashes[index], *inclusion_proof(index, size, hash_range(hashes)), tree_hash(hashes)]
    which, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    changed = bytearray(parts[which])
    changed[bit // 8] ^= 1 << bit % 8
    parts[which] = bytes(changed)
    assert not inclusion_is_valid(index, size, parts[0], parts[1:-1], parts[-1])


@given(st.integers(1, 200), st.data())
def test_changed_bits_of_consistency(size: int, data: st.DataObject) -> None:
    """One bit changed in a consistency proof or a root fails."""
    hashes = _hashes(_leaves(size))
    old = data.draw(st.integers(1, size))
    parts = [tree_hash(hashes[:old]), *consistency_proof(old, size, hash_range(hashes)), tree_hash(hashes)]
    which, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    changed = bytearray(parts[which])
    changed[bit // 8] ^= 1 << bit % 8
    parts[which] = bytes(changed)
    assert not consistency_is_valid(old, size, parts[0], parts[-1], parts[1:-1])


def test_sizes_at_the_edge() -> None:
    """Equal trees need no proof, the empty tree is in every tree, a larger one is in none."""
    hashes = _hashes(_leaves(4))
    root = tree_hash(hashes)
    assert consistency_is_valid(4, 4, root, root, [])
    assert not consistency_is_valid(4, 4, root, root, [root])
    assert not consistency_is_valid(4, 4, root, EMPTY_ROOT, [])
    assert consistency_is_valid(0, 4, EMPTY_ROOT, root, [])
    assert not consistency_is_valid(0, 4, root, root, [])
    assert not consistency_is_valid(0, 4, EMPTY_ROOT, root, [root])
    assert not consistency_is_valid(5, 4, root, root, [root])
    assert not consistency_is_valid(-1, 4, root, root, [root])
    assert not consistency_is_valid(2, 4, root, root, [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_no_proof_of_absent_leaves(index: int, size: int) -> None:
    """A leaf that is not in the tree has no proof."""
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_proof(index, size, hash_range(_hashes(_leaves(3))))
    assert not inclusion_is_valid(index, size, b"", [], EMPTY_ROOT)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 3)])
def test_no_consistency_proof_of_absent_trees(old: int, new: int) -> None:
    """Only smaller trees that have leaves have a proof."""
    with pytest.raises(ValueError, match="no consistency proof"):
        consistency_proof(old, new, hash_range(_hashes(_leaves(3))))


def test_leaf_is_no_node() -> None:
    """Leaves and inner nodes are hashed apart, so that no node passes as a leaf."""
    assert leaf_hash(b"\x01" * 64) != node_hash(b"\x01" * 32, b"\x01" * 32)
