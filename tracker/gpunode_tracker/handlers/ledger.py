"""The ledger: hashes, heads and proofs for everybody, bodies for their owners."""

from aiohttp import web
from gpunode_protocol.ledger_proofs import ReceiptProof, Restoration, RestorationsReply
from gpunode_protocol.tracker_api import (
    ConsistencyReply,
    EntriesReply,
    HeadReply,
    LeavesReply,
    OwnEntry,
)
from gpunode_protocol.validation import MAX_INT64

from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.auth import owners_of
from gpunode_tracker.balances import account_balance, node_balance
from gpunode_tracker.bodies import read_number, reply
from gpunode_tracker.errors import InvalidRequest, NotFound, StorageUnavailable
from gpunode_tracker.queries import read_limit
from gpunode_tracker.restorations import restorations
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.accounts import Account
from gpunode_tracker.storage.settlements import StoredSettlement, settlement_of_receipt
from gpunode_tracker.tracker import Tracker

MAX_LEAVES = 1_000
MAX_ENTRIES = 200
DEFAULT_ENTRIES = 50


async def get_balance(request: web.Request) -> web.Response:
    """GET /api/v1/ledger/balance: of the account or node that asks."""
    _, owner = await owners_of(request)
    async with request.app[TRACKER].database.read() as connection:
        if isinstance(owner, Account):
            return reply(await account_balance(connection, owner))
        return reply(await node_balance(connection, owner))


async def get_entries(request: web.Request) -> web.Response:
    """GET /api/v1/ledger/entries?cursor=&limit=: own entries, newest first."""
    name, _ = await owners_of(request)
    limit = read_limit(request, DEFAULT_ENTRIES, highest=MAX_ENTRIES)
    before = read_number(request, "cursor", MAX_INT64, highest=MAX_INT64)
    async with request.app[TRACKER].database.read() as connection:
        found = await ledger.entries_of(connection, name, before_row=before, limit=limit + 1)
    page = found[:limit]
    entries = tuple(OwnEntry(entry=item.entry, index=item.position) for item in page)
    return reply(EntriesReply(entries=entries, next_cursor=str(page[-1].row) if len(found) > limit else None))


async def get_head(request: web.Request) -> web.Response:
    """GET /api/v1/ledger/head: the newest signed tree head."""
    head = request.app[TRACKER].sequencer.head
    if head is None:
        raise StorageUnavailable("No tree head is signed yet. Try again in a moment.", retry_after_s=1)
    return reply(HeadReply(head=head))


async def get_leaves(request: web.Request) -> web.Response:
    """GET /api/v1/ledger/leaves?start=&limit=: leaf hashes, which give nothing away."""
    tracker = request.app[TRACKER]
    start = read_number(request, "start", 0, highest=MAX_INT64)
    limit = min(read_limit(request, MAX_LEAVES, highest=MAX_LEAVES), max(0, tracker.sequencer.size - start))
    async with tracker.database.read() as connection:
        leaves = await ledger.leaf_hashes(connection, start, limit) if limit else []
    return reply(LeavesReply(start=start, leaves=tuple(leaves)))


async def get_consistency(request: web.Request) -> web.Response:
    """GET /api/v1/ledger/consistency?from=&to=: proof that nothing was changed in between; ``to``: default newest."""
    sequencer = request.app[TRACKER].sequencer
    from_size = read_number(request, "from", 0, highest=MAX_INT64)
    to_size = read_number(request, "to", sequencer.size, highest=MAX_INT64)
    path = sequencer.consistency(from_size, to_size)
    return reply(ConsistencyReply(from_size=from_size, to_size=to_size, path=path))


async def get_restorations(request: web.Request) -> web.Response:
    """GET /api/v1/ledger/restorations: every restore from a backup, with the head that was known then."""
    tracker = request.app[TRACKER]
    async with tracker.database.read() as connection:
        entries = await restorations(connection)
    sequencer, head = tracker.sequencer, tracker.sequencer.head
    if head is None:
        raise StorageUnavailable("No tree head is signed yet. Try again in a moment.", retry_after_s=1)
    proven = tuple(
        Restoration(entry=entry.leaf, index=entry.position, path=sequencer.inclusion(entry.position))
        for entry in entries
        if entry.position is not None and entry.position < sequencer.size
    )
    return reply(RestorationsReply(restorations=proven, head=head))


async def get_receipt(request: web.Request) -> web.Response:
    """GET /api/v1/ledger/receipts/{receipt}: all that is needed to verify a receipt; for the payer and the node."""
    tracker = request.app[TRACKER]
    name, _ = await owners_of(request)
    digest = _digest(request.match_info["receipt"])
    settlement, entry = await _find(tracker, digest)
    if settlement is None or entry is None or name not in await _owners(tracker, entry):
        raise NotFound(
            "The ledger has no such receipt of yours. Receipts of the last seconds may still be on their way: the node "
            "sends them in batches."
        )
    if entry.position is None or entry.position >= tracker.sequencer.size:
        await tracker.sequence()
        settlement, entry = await _find(tracker, digest)
    head = tracker.sequencer.head
    if settlement is None or settlement.receipt is None or entry is None or entry.position is None or head is None:
        raise StorageUnavailable("The entry has no number in the log yet. Try again in a moment.", retry_after_s=1)
    return reply(
        ReceiptProof(
            receipt=settlement.receipt,
            voucher=settlement.voucher,
            entry=entry.leaf,
            index=entry.position,
            path=tracker.sequencer.inclusion(entry.position),
            head=head,
            keyset=tracker.keys.keyset.envelope,
        )
    )


async def _find(tracker: Tracker, digest: bytes) -> tuple[StoredSettlement | None, ledger.StoredEntry | None]:
    async with tracker.database.read() as connection:
        settlement = await settlement_of_receipt(connection, digest)
        return settlement, await ledger.entry_at(connection, settlement.entry_row) if settlement else None


async def _owners(tracker: Tracker, entry: ledger.StoredEntry) -> set[str]:
    async with tracker.database.read() as connection:
        return await ledger.owners_of_entry(connection, entry.row)


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise InvalidRequest("A receipt's id is its digest: 64 hex digits.")
    return digest
