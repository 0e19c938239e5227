"""What has been promised from open grants. Pure.

Every node sees only what a grant has cost there, and the tracker pays no more than was reserved: only the client can
see to it that what it signs for at several nodes stays within that.
"""

from collections import Counter
from collections.abc import Collection

from gpunode_protocol.grants import Grant


class Spending:
    """Counts by grant (``jti``), in micro-credits."""

    def __init__(self) -> None:
        self._promised = Counter[str]()
        self._spent = Counter[str]()

    def left_microcredits(self, grant: Grant) -> int:
        """Return what an open grant has left for one more job, may be < 0."""
        return (grant.cap.open or 0) - self._promised[grant.jti] - self._spent[grant.jti]

    def has_promised(self, jti: str) -> bool:
        """Return whether jobs of a grant are under way."""
        return self._promised[jti] > 0

    def promise(self, jti: str, microcredits: int) -> None:
        """A job begins that may cost this much."""
        self._promised[jti] += microcredits

    def give_back(self, jti: str, microcredits: int) -> None:
        """It is over, and what it did cost was counted."""
        self._promised[jti] -= microcredits
        if not self._promised[jti]:
            del self._promised[jti]

    def spend(self, jti: str, microcredits: int) -> None:
        """A voucher for this much was signed, a node's last one."""
        self._spent[jti] += microcredits

    def keep(self, jtis: Collection[str]) -> None:
        """Forget what was spent of all other grants, unless jobs are under way: no other job shows them to a node."""
        kept = {*jtis, *self._promised}
        self._spent = Counter({jti: spent for jti, spent in self._spent.items() if jti in kept})
