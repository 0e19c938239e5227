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
        if epoch != self._epoch and not self._wait_is_over(waiting_since):
            return 0
        return await self._number(keys, epoch)

    def _wait_is_over(self, waiting_since: int | None) -> bool:
        return waiting_since is not None and self._clock() - waiting_since >= TAKEOVER_S

    async def _follow(self, connection: AsyncConnection) -> None:
        """Read the leaves that were numbered elsewhere, and the newest head over them."""
        while batch := await ledger.leaf_hashes(connection, self._levels.size, _LOAD_LEAVES):
            for leaf in batch:
                self._levels.append(leaf)
        self._head = await newest(connection, DocumentKind.TREE_HEAD)
        if self._head is not None:
            head = read_body(TreeHead, self._head)
            self._head_size, self._head_log = head.size, head.log  # after a restore: of the log that this one continues

    async def _number(self, keys: KeyRing, epoch: int) -> int:
        """Number a batch and sign a head, in one transaction with taking over from the sequencer of another ``epoch``.

        So nobody takes over from one that has just done so, and a successor sees all that was numbered before it.
        """
        took_over = epoch != self._epoch
        known_size: int | None = None
        try:
            async with self._database.write() as connection:
                if not took_over:
                    await self._hold(connection)
                elif not await self._succeed(connection, epoch):
                    return 0
                known_size = self._levels.size
                batch = await ledger.unsequenced(connection, MAX_BATCH_LEAVES)
                await ledger.set_positions(connection, [row for row, _ in batch], known_size)
                for _, leaf in batch:
                    self._levels.append(leaf)
                own_epoch = epoch + 1 if took_over else epoch
                head = self._head
                if batch or self._head_log != self._log:  # else all was numbered while this process waited for its turn
                    head = await self._sign_head(connection, keys, own_epoch)
        except BaseException:
            if known_size is not None:
                self._levels.truncate(known_size)  # what was not committed is not in the log
            raise
        self._head, self._head_size, self._head_log, self._epoch = head, self._levels.size, self._log, own_epoch
        if took_over:
            logger.warning(
                "Entries waited for their numbers: this process gives them now", extra={"event": "sequencer_taken_over"}
            )
        return len(batch)

    async def _hold(self, connection: AsyncConnection) -> None:
        """Let nobody take the epoch until the transaction ends."""
        if await ledger.current_epoch(connection, self._log, lock=True) != self._epoch:
            raise NotTheSequencer(retry_after_s=1)

    async def _succeed(self, connection: AsyncConnection, epoch: int) -> bool:
        """Take the epoch after that one and read what was numbered before; return False if somebody else took it."""
        if not await ledger.take_epoch_after(connection, self._log, epoch):
            return False
        await self._follow(connection)
        return True

    async def _sign_head(self, connection: AsyncConnection, keys: KeyRing, epoch: int) -> Envelope:
        now = int(self._clock())
        kid, signer = keys.signer(now)
        size = self._levels.size
        body = TreeHead(
            network=keys.network,
            log=self._log,
            epoch=epoch,
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
