"""Numbering of the Merkle log's leaves, signing of its heads, and proofs about them."""

import asyncio
import logging

from gpunode_protocol.merkle import consistency_proof, inclusion_proof
from gpunode_protocol.signing import Envelope, read_body, sign
from gpunode_protocol.tree_head import TreeHead
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker import Clock
from gpunode_tracker.errors import InvalidRequest, StorageUnavailable
from gpunode_tracker.hash_levels import HashLevels
from gpunode_tracker.keys import KeyRing
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.documents import DocumentKind, add, newest

logger = logging.getLogger(__name__)

MAX_BATCH_LEAVES = 2_000
_LOAD_LEAVES = 50_000
TAKEOVER_S = 10
"""When entries have waited so long for their numbers, whoever should give them is gone: some other replica does it."""


class NotTheSequencer(StorageUnavailable):
    """Another tracker process numbers the ledger's entries now; ask again shortly."""


class Sequencer:
    """Numbers new leaves and signs a head after each batch, while nobody took a newer epoch.

    Of several replicas the one that started last does so. The others follow: they read what it wrote and prove by that;
    when entries wait for too long, one of them takes the next epoch.
    """

    def __init__(self, database: Database, log: str, clock: Clock) -> None:
        """log: id of this log."""
        self._database = database
        self._log = log
        self._clock = clock
        self._levels = HashLevels()
        self._head: Envelope | None = None
        self._head_size = 0
        self._head_log = ""
        self._epoch = 0
        self._turn = asyncio.Lock()

    @property
    def head(self) -> Envelope | None:
        """The newest signed head."""
        return self._head

    @property
    def size(self) -> int:
        """Leaves under the newest head."""
        return self._head_size

    async def start(self, keys: KeyRing) -> None:
        """Take the epoch, read the log and sign a first head if there is none."""
        async with self._database.write() as connection:
            self._epoch = await ledger.take_epoch(connection, self._log)
        async with self._database.read() as connection:
            await self._follow(connection)
        await self.run_once(keys)

    async def run_once(self, keys: KeyRing) -> int:
        """Number all new leaves and sign heads over them, or read what another process did of that.

        Returns:
            How many leaves were numbered here.

        Raises:
            NotTheSequencer: another process took over just now.
            StorageUnavailable: nothing was numbered.
        """
        numbered = 0
        async with self._turn:
            while count := await self._run_batch(keys):
                numbered += count
        return numbered

    async def _run_batch(self, keys: KeyRing) -> int:
        async with self._database.read() as connection:
            epoch = await ledger.current_epoch(connection, self._log)
            waiting_since = await ledger.unsequenced_since(connection)
            if epoch != self._epoch:
                await self._follow(connection)
        if waiting_since is None and self._head is not None and self._head_log == self._log:
            return 0
        if epoch != self._epoch and not await self._take_over(epoch, waiting_since):
            return 0
        return await self._number(keys)

    async def _follow(self, connection: AsyncConnection) -> None:
        """Read the leaves that were numbered elsewhere, and the newest head over them."""
        while batch := await ledger.leaf_hashes(connection, self._levels.size, _LOAD_LEAVES):
            for leaf in batch:
                self._levels.append(leaf)
        self._head = await newest(connection, DocumentKind.TREE_HEAD)
        if self._head is not None:
            head = read_body(TreeHead, self._head)
            self._head_size, self._head_log = head.size, head.log  # after a restore: of the log that this one continues

    async def _take_over(self, epoch: int, waiting_since: int | None) -> bool:
        """Become the sequencer if the one of ``epoch`` lets entries wait; return whether it worked."""
        if waiting_since is None or self._clock() - waiting_since < TAKEOVER_S:
            return False
        async with self._database.write() as connection:
            if not await ledger.take_epoch_after(connection, self._log, epoch):
                return False
        async with self._database.read() as connection:
            await self._follow(connection)  # what it numbered before its epoch ended
        self._epoch = epoch + 1
        logger.warning(
            "Entries waited for their numbers: this process gives them now", extra={"event": "sequencer_taken_over"}
        )
        return True

    async def _number(self, keys: KeyRing) -> int:
        size = self._levels.size
        try:
            async with self._database.write() as connection:
                if await ledger.current_epoch(connection, self._log, lock=True) != self._epoch:
                    raise NotTheSequencer(retry_after_s=1)
                batch = await ledger.unsequenced(connection, MAX_BATCH_LEAVES)
                await ledger.set_positions(connection, [row for row, _ in batch], size)
                for _, leaf in batch:
                    self._levels.append(leaf)
                head = await self._sign_head(connection, keys)
        except BaseException:
            self._levels.truncate(size)  # what was not committed is not in the log
            raise
        self._head, self._head_size, self._head_log = head, self._levels.size, self._log
        return len(batch)

    async def _sign_head(self, connection: AsyncConnection, keys: KeyRing) -> Envelope:
        now = int(self._clock())
        kid, signer = keys.signer(now)
        size = self._levels.size
        body = TreeHead(
            network=keys.network,
            log=self._log,
            epoch=self._epoch,
            size=size,
            root=self._levels.root(size),
            issued_at=now,
            kid=kid,
        )
        head = sign(signer, body).envelope
        await add(connection, DocumentKind.TREE_HEAD, size, head, now)
        return head

    def inclusion(self, position: int) -> tuple[bytes, ...]:
        """Return the audit path of a leaf under the newest head."""
        return tuple(inclusion_proof(position, self._head_size, self._levels.ranged))

    def consistency(self, from_size: int, to_size: int) -> tuple[bytes, ...]:
        """Return the proof that the tree of ``to_size`` leaves extends that of ``from_size``.

        Raises:
            InvalidRequest: not ``0 <= from_size <= to_size <= size``.
        """
        if not 0 <= from_size <= to_size <= self._head_size:
            raise InvalidRequest(
                f"There is no proof from {from_size} to {to_size} leaves: the ledger has {self._head_size}."
            )
        return tuple(consistency_proof(from_size, to_size, self._levels.ranged)) if from_size else ()
