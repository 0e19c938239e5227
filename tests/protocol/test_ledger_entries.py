"""Entries of the ledger and their leaves."""

from typing import Any

import pytest
from gpunode_protocol import canonical
from gpunode_protocol.errors import MalformedMessage, NotCanonical
from gpunode_protocol.ledger_entries import LedgerEntry, Transfer

from tests.protocol.ledger_samples import completed_chat, settlement
from tests.protocol.samples import NETWORK, NODE, NOW

ISSUE: dict[str, Any] = {
    "v": 1,
    "network": NETWORK,
    "id": "entry-0001",
    "kind": "issue",
    "at": NOW,
    "transfers": (
        {"account": "issuance", "microcredits": -1_000_000_000},
        {"account": "account:a1", "microcredits": 1_000_000_000},
    ),
    "blind": bytes(16),
}


def test_leaf_round_trip() -> None:
    """An entry is read back from its leaf, and has one leaf."""
    entry = settlement(completed_chat())
    assert LedgerEntry.from_leaf(entry.to_leaf()) == entry
    assert LedgerEntry.from_leaf(entry.to_leaf()).to_leaf() == entry.to_leaf()


def test_unknown_key_is_ignored() -> None:
    """A later version may add keys; the leaf's bytes are what the log hashes."""
    leaf = canonical.encode({**ISSUE, "zeta": 1})
    assert LedgerEntry.from_leaf(leaf) == LedgerEntry.from_map(ISSUE)


@pytest.mark.parametrize(
    "change",
    [
        {"transfers": ({"account": "issuance", "microcredits": -1},)},
        {"transfers": ({"account": "bank", "microcredits": 0},)},
        {"transfers": ({"account": "account:", "microcredits": 0},)},
        {"transfers": ({"account": "account:a b", "microcredits": 0},)},
        {"transfers": ({"account": "issuance:x", "microcredits": 0},)},
        {"transfers": ({"account": "issuance\n", "microcredits": 0},)},
        {
            "transfers": (
                {"account": "issuance", "microcredits": 2**62 + 1},
                {"account": "promotional", "microcredits": -(2**62) - 1},
            )
        },
        {"transfers": ({"account": "issuance", "microcredits": 0},) * 65},
        {"kind": "gift"},
        {"blind": bytes(15)},
        {"memo": "x" * 201},
        {"v": 2},
        {"at": -1},
    ],
    ids=lambda change: str(change)[:60],
)
def test_limits(change: dict[str, Any]) -> None:
    """Entries that do not balance, name no account or break a limit are refused."""
    with pytest.raises(MalformedMessage):
        LedgerEntry.from_leaf(canonical.encode({**ISSUE, **change}))


def test_leaf_is_canonical() -> None:
    """Bytes that are no canonical map are no leaf."""
    with pytest.raises(NotCanonical):
        LedgerEntry.from_leaf(b"\x82\xa1b\x01\xa1a\x01")


def test_names_of_accounts() -> None:
    """Each kind of account has its name."""
    for name in ("issuance", "promotional", "account:a1", "reserved:grant-0001", f"node:{NODE.peer_id}"):
        assert Transfer(account=name, microcredits=0).account == name


def test_blind_hides_small_facts() -> None:
    """Two entries that differ in their blind only have different leaves."""
    chat = completed_chat()
    assert settlement(chat, blind=bytes(16)).to_leaf() != settlement(chat).to_leaf()


RESTORED: dict[str, Any] = {
    **ISSUE,
    "kind": "restored",
    "transfers": (),
    "restored": {"log": "old", "size": 7, "root": bytes(32), "issued_at": NOW},
}


def test_an_entry_of_a_restore() -> None:
    """It names the head that it continues, and is read back from its leaf."""
    entry = LedgerEntry.from_map(RESTORED)
    assert LedgerEntry.from_leaf(entry.to_leaf()) == entry
    assert entry.restored is not None
    assert (entry.restored.log, entry.restored.size) == ("old", 7)


@pytest.mark.parametrize(
    "value",
    [
        {**RESTORED, "restored": None},
        {**RESTORED, "transfers": ISSUE["transfers"]},
        {**ISSUE, "restored": RESTORED["restored"]},
        {**RESTORED, "restored": {**RESTORED["restored"], "root": bytes(31)}},
    ],
)
def test_a_restore_moves_nothing(value: dict[str, Any]) -> None:
    """And no other kind of entry names a log."""
    with pytest.raises(MalformedMessage):
        LedgerEntry.from_map({name: item for name, item in value.items() if item is not None})
