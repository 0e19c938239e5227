"""The Merkle log's inner hashes in memory: any range hash in logarithmic time, 64 bytes a leaf."""

from collections.abc import Iterable

from gpunode_protocol.merkle import EMPTY_ROOT, node_hash

_HASH_BYTES = 32


class HashLevels:
    """Hashes of all complete subtrees, level 0 being the leaves; grows only."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        """Start with leaf hashes of 32 bytes each."""
        self._levels: list[bytearray] = [bytearray()]
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        """Leaves."""
        return len(self._levels[0]) // _HASH_BYTES

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash and every subtree that it completes."""
        current, level = leaf, 0
        while True:
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += current
            count = len(self._levels[level]) // _HASH_BYTES
            if count % 2:
                return
            current = node_hash(self._at(level, count - 2), current)
            level += 1

    def truncate(self, size: int) -> None:
        """Forget all leaves from number ``size`` on."""
        for level, hashes in enumerate(self._levels):
            del hashes[(size >> level) * _HASH_BYTES :]

    def root(self, size: int) -> bytes:
        """Return the tree hash of the first ``size`` leaves."""
        return self.ranged(0, size) if size else EMPTY_ROOT

    def ranged(self, start: int, end: int) -> bytes:
        """Return the tree hash of the leaves ``start <= i < end``, as RFC 6962 splits them."""
        count = end - start
        if count & (count - 1) == 0 and start % count == 0:
            return self._at(count.bit_length() - 1, start // count)
        middle = start + (1 << ((count - 1).bit_length() - 1))
        return node_hash(self.ranged(start, middle), self.ranged(middle, end))

    def _at(self, level: int, index: int) -> bytes:
        offset = index * _HASH_BYTES
        return bytes(self._levels[level][offset : offset + _HASH_BYTES])
