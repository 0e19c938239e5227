"""The cached Merkle levels agree with the plain definition."""

import hashlib

from gpunode_protocol.merkle import EMPTY_ROOT, hash_range, tree_hash
from gpunode_tracker.hash_levels import HashLevels
from hypothesis import given
from hypothesis import strategies as st


def _leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([number])).digest() for number in range(count)]


@given(st.integers(0, 70))
def test_roots_of_all_sizes(count: int) -> None:
    """The root of every earlier size stays computable."""
    leaves = _leaves(count)
    levels = HashLevels(leaves)
    assert levels.size == count
    for size in range(count + 1):
        assert levels.root(size) == tree_hash(leaves[:size])


@given(st.integers(1, 40), st.data())
def test_aligned_ranges(count: int, data: st.DataObject) -> None:
    """Ranges, as proofs ask for them, equal the recursive definition."""
    leaves = _leaves(count)
    start = data.draw(st.integers(0, count - 1))
    width = start & -start or 1 << count.bit_length()  # subtrees begin at multiples of their size
    end = min(count, start + width)
    assert HashLevels(leaves).ranged(start, end) == hash_range(leaves)(start, end)


@given(st.integers(0, 40), st.integers(0, 40))
def test_truncating_forgets(count: int, size: int) -> None:
    """After a rollback the tree is as if the leaves had never been added."""
    leaves = _leaves(count)
    levels = HashLevels(leaves)
    levels.truncate(size)
    kept = leaves[:size]
    assert levels.size == len(kept)
    for leaf in _leaves(9):
        levels.append(leaf)
    assert levels.root(levels.size) == tree_hash([*kept, *_leaves(9)])


def test_the_empty_tree() -> None:
    """The root of nothing is SHA-256 of nothing."""
    assert HashLevels().root(0) == EMPTY_ROOT
