"""Whether the tracker's ledger only ever grows: each head that a heartbeat brings must extend the one before it."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.merkle import consistency_is_valid
from gpunode_protocol.signing import Envelope, Signed
from gpunode_protocol.tracker_api import ConsistencyReply
from gpunode_protocol.tree_head import TreeHead
from gpunode_protocol.trust import Trust

from gpunode_node.state_files import read_json, write_json

logger = logging.getLogger(__name__)

FetchProof = Callable[[int, int], Awaitable[ConsistencyReply]]
"""Returns the proof between two sizes; raises TrackerUnreachable or TrackerRefused."""


class LedgerWatch:
    """Keeps the last head that was good, and the first one that was not, in a file: both are signed evidence.

    Args:
        path: the file.
        fetch: asks the tracker for a consistency proof.
    """

    def __init__(self, path: Path, fetch: FetchProof) -> None:
        self._path = path
        self._fetch = fetch
        self.problem = ""  #: what the owner should tell others, empty while the ledger is consistent
        self._lost: Envelope | None = None
        self._last = self._load()

    async def see(self, trust: Trust, envelope: Envelope) -> None:
        """Check a head against the last one.

        Raises:
            TrackerUnreachable, TrackerRefused: no proof this time; the next head is checked against the same one.
            Untrusted, ProtocolError: the head is not the tracker's.
        """
        head = trust.open_tree_head(envelope)
        last = trust.open_tree_head(self._last).body if self._last is not None else None
        if last is None:
            self._accept(head)
            return
        if last.log != head.body.log:
            await self._restored(last, head)
            return
        if head.body.issued_at < last.issued_at:
            return  # of a replica that lags behind
        problem = await self._contradiction(last, head.body)
        if problem:
            self._report(problem, envelope)
        elif head.body.size > last.size:
            self._accept(head)

    async def _restored(self, last: TreeHead, head: Signed[TreeHead]) -> None:
        """Take the head of a log that goes on after a restore from a backup; say so if the backup was older than this.

        The new log has the old entries in front, so the proof is the same as within one log.
        """
        if head.body.size > last.size and not await self._contradiction(last, head.body):
            logger.info("the tracker's ledger goes on in a new log", extra={"event": "ledger_restarted"})
            self._accept(head)
            return
        logger.warning(
            "the tracker's ledger was restored from a backup that lacks entries of before; %s keeps the head that "
            "had them",
            self._path,
            extra={"event": "ledger_restarted"},
        )
        self._accept(head, lost=self._last)

    async def _contradiction(self, last: TreeHead, head: TreeHead) -> str:
        if head.size < last.size:
            return f"shrank from {last.size} to {head.size} entries"
        if last.size == 0:
            return ""
        if head.size == last.size:
            return "" if head.root == last.root else f"shows two histories of {head.size} entries"
        proof = await self._fetch(last.size, head.size)
        if consistency_is_valid(last.size, head.size, last.root, head.root, proof.path):
            return ""
        return f"changed some of its first {last.size} entries"

    def _accept(self, head: Signed[TreeHead], *, lost: Envelope | None = None) -> None:
        """Keep a head; lost: one of a log whose end is lost, kept beside it from now on."""
        self._last = head.envelope
        self._lost = lost or self._lost
        if not self.problem:
            kept = {} if self._lost is None else {"lost": self._lost.model_dump_json()}
            write_json(self._path, {"head": head.envelope.model_dump_json()} | kept)

    def _report(self, problem: str, envelope: Envelope) -> None:
        if self.problem or self._last is None:
            return
        self.problem = f"The tracker's ledger {problem}. {self._path} holds both signed heads as evidence."
        logger.error(self.problem, extra={"event": "ledger_inconsistent"})
        write_json(self._path, {"head": self._last.model_dump_json(), "contradicts": envelope.model_dump_json()})

    def _load(self) -> Envelope | None:
        value = read_json(self._path)
        try:
            if "contradicts" in value:
                self.problem = f"The tracker's ledger contradicted itself before; {self._path} holds the evidence."
            if "lost" in value:
                self._lost = Envelope.model_validate_json(value["lost"])
            return Envelope.model_validate_json(value["head"])
        except (TypeError, KeyError, ValueError):
            return None


async def watch_quietly(watch: LedgerWatch, trust: Trust, envelope: Envelope) -> None:
    """Check a head; what hinders the check is logged, and the next heartbeat tries again."""
    try:
        await watch.see(trust, envelope)
    except GpunodeError as error:
        logger.info("the ledger's head was not checked: %s", error, extra={"event": "ledger_unchecked"})
