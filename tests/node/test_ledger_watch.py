"""A ledger that only grows, and ones that do not."""

from pathlib import Path

import pytest
from gpunode_node.errors import TrackerUnreachable
from gpunode_node.ledger_watch import LedgerWatch, watch_quietly
from gpunode_node.state_files import read_json
from gpunode_protocol.errors import BadSignature
from gpunode_protocol.merkle import consistency_proof, hash_range, leaf_hash, tree_hash
from gpunode_protocol.signing import sign
from gpunode_protocol.tracker_api import ConsistencyReply

from tests.node.settlements import tree_head
from tests.node.world import EPOCH, OTHER, TRUST


class _Ledger:
    """Leaves that a test may change; says which proofs were asked for."""

    def __init__(self) -> None:
        self.leaves = [leaf_hash(bytes([number])) for number in range(9)]
        self.asked: list[tuple[int, int]] = []
        self.down = False

    async def proof(self, from_size: int, to_size: int) -> ConsistencyReply:
        if self.down:
            raise TrackerUnreachable("down")
        self.asked.append((from_size, to_size))
        path = consistency_proof(from_size, to_size, hash_range(self.leaves[:to_size]))
        return ConsistencyReply(from_size=from_size, to_size=to_size, path=tuple(path))

    async def show(self, watch: LedgerWatch, size: int, *, at: int = 0, log: str = "log-1") -> None:
        head = tree_head(size, tree_hash(self.leaves[:size]), issued_at=EPOCH + at, log=log)
        await watch.see(TRUST, head.envelope)


async def test_a_ledger_that_grows(tmp_path: Path) -> None:
    """Each head is proven against the last one, also after a restart."""
    ledger = _Ledger()
    watch = LedgerWatch(tmp_path / "ledger.json", ledger.proof)
    for size in (0, 3, 3, 5):
        await ledger.show(watch, size, at=size)
    watch = LedgerWatch(tmp_path / "ledger.json", ledger.proof)
    await ledger.show(watch, 9, at=9)
    assert ledger.asked == [(3, 5), (5, 9)]
    assert watch.problem == ""


@pytest.mark.parametrize(
    ("size", "words"), [(7, "changed some of its first 5"), (5, "two histories"), (4, "shrank from 5 to 4")]
)
async def test_a_ledger_that_was_changed(tmp_path: Path, size: int, words: str) -> None:
    """Both heads are kept as evidence, and the problem is still known after a restart."""
    ledger = _Ledger()
    watch = LedgerWatch(tmp_path / "ledger.json", ledger.proof)
    await ledger.show(watch, 5)
    ledger.leaves[2] = leaf_hash(b"changed")
    await ledger.show(watch, size, at=1)
    assert words in watch.problem
    assert "contradicts" in (tmp_path / "ledger.json").read_text()
    assert "evidence" in LedgerWatch(tmp_path / "ledger.json", ledger.proof).problem


async def test_an_older_head_is_no_contradiction(tmp_path: Path) -> None:
    """A replica may lag behind."""
    ledger = _Ledger()
    watch = LedgerWatch(tmp_path / "ledger.json", ledger.proof)
    await ledger.show(watch, 5, at=10)
    await ledger.show(watch, 3, at=5)
    assert watch.problem == ""
    assert ledger.asked == []


async def test_a_restored_ledger_that_lost_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The new log extends what was seen of the old one, which is proven; nothing is held against the tracker."""
    ledger = _Ledger()
    watch = LedgerWatch(tmp_path / "ledger.json", ledger.proof)
    await ledger.show(watch, 3)
    await ledger.show(watch, 5, at=20, log="log-2")
    assert ledger.asked == [(3, 5)]
    assert "lost" not in (tmp_path / "ledger.json").read_text()
    assert caplog.records == []
    await ledger.show(watch, 9, at=30, log="log-2")
    assert ledger.asked == [(3, 5), (5, 9)]


@pytest.mark.parametrize("size", [4, 5, 7])
async def test_a_restored_ledger_that_lost_entries(tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int) -> None:
    """The head that had them is kept as evidence, also when further heads come and after a restart."""
    ledger = _Ledger()
    watch = LedgerWatch(tmp_path / "ledger.json", ledger.proof)
    await ledger.show(watch, 5)
    seen = watch._last
    ledger.leaves[3] = leaf_hash(b"the restore")
    await ledger.show(watch, size, at=20, log="log-2")
    assert watch.problem == ""
    assert "lacks entries of before" in caplog.text
    watch = LedgerWatch(tmp_path / "ledger.json", ledger.proof)
    await ledger.show(watch, 9, at=30, log="log-2")
    assert watch.problem == ""
    assert seen is not None
    assert read_json(tmp_path / "ledger.json")["lost"] == seen.model_dump_json()


async def test_a_check_that_cannot_be_made(tmp_path: Path) -> None:
    """Without the proof nothing is believed: the next head is checked against the same one."""
    ledger = _Ledger()
    watch = LedgerWatch(tmp_path / "ledger.json", ledger.proof)
    await ledger.show(watch, 3)
    ledger.down = True
    head = tree_head(5, tree_hash(ledger.leaves[:5]), issued_at=EPOCH + 1)
    await watch_quietly(watch, TRUST, head.envelope)
    ledger.down = False
    await ledger.show(watch, 9, at=2)
    assert ledger.asked == [(3, 9)]


async def test_a_forged_head(tmp_path: Path) -> None:
    """It is neither kept nor held against the tracker."""
    watch = LedgerWatch(tmp_path / "ledger.json", _Ledger().proof)
    forged = sign(OTHER, tree_head(3, bytes(32)).body).envelope
    with pytest.raises(BadSignature):
        await watch.see(TRUST, forged)
    assert not (tmp_path / "ledger.json").exists()
    assert watch.problem == ""
