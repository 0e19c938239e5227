"""Ledger entries, pure: which account loses and which gains, in micro-credits. Each entry adds up to zero."""

import secrets
from dataclasses import dataclass

from gpunode_protocol.ledger_entries import BLIND_BYTES, LedgerEntry, RestoredLog, SettledJob, Transfer
from gpunode_protocol.merkle import leaf_hash

ISSUANCE = "issuance"
"""The only source of credits; its balance is minus all that was ever issued."""
PROMOTIONAL = "promotional"
"""Where promotional credits end; nobody can spend from it."""


def account_name(account_id: str) -> str:
    """Return the ledger name of an account."""
    return f"account:{account_id}"


def reserved_name(jti: str) -> str:
    """Return the ledger name of what a grant reserved."""
    return f"reserved:{jti}"


def node_name(peer: str) -> str:
    """Return the ledger name of a node's own earnings."""
    return f"node:{peer}"


@dataclass(frozen=True, kw_only=True)
class NewEntry:
    """An entry and who may read it (``account:<id>``, ``node:<peer id>``)."""

    entry: LedgerEntry
    owners: frozenset[str]

    @property
    def leaf(self) -> bytes:
        """Canonical bytes."""
        return self.entry.to_leaf()

    @property
    def leaf_hash(self) -> bytes:
        """What the public log shows, 32 bytes."""
        return leaf_hash(self.leaf)


@dataclass(frozen=True)
class Bookkeeper:
    """Writes entries of one network at one instant (Unix seconds)."""

    network: str
    at: int

    def issue(self, account_id: str, microcredits: int, memo: str = "") -> NewEntry:
        """Return the entry by which the operator gives credits to an account."""
        name = account_name(account_id)
        return self._entry("issue", _move(ISSUANCE, name, microcredits), {name}, memo=memo)

    def reserve(self, account_id: str, jti: str, microcredits: int) -> NewEntry:
        """Return the entry that sets credits aside for a grant."""
        name = account_name(account_id)
        return self._entry("reserve", _move(name, reserved_name(jti), microcredits), {name})

    def settle(
        self, settled: SettledJob, *, account_id: str, payee: str, microcredits: int, memo: str = ""
    ) -> NewEntry:
        """Return the entry that pays for a job from its grant's reservation.

        Args:
            account_id: whose grant it is. payee: ledger name that earns. microcredits: 0 for what costs nothing.
        """
        transfers = _move(reserved_name(settled.jti), payee, microcredits) if microcredits else ()
        owners = {account_name(account_id), node_name(settled.node)} | ({payee} - {PROMOTIONAL})
        return self._entry("settle", transfers, owners, settled=settled, memo=memo)

    def give_back(self, account_id: str, jti: str, microcredits: int) -> NewEntry:
        """Return the entry that returns what a grant did not use."""
        name = account_name(account_id)
        return self._entry("return", _move(reserved_name(jti), name, microcredits), {name})

    def link(self, peer: str, account_id: str, microcredits: int) -> NewEntry:
        """Return the entry that moves a node's earnings to the account that it was attached to."""
        node, account = node_name(peer), account_name(account_id)
        return self._entry("link", _move(node, account, microcredits), {node, account})

    def restored(self, log: RestoredLog, memo: str = "") -> NewEntry:
        """Return the entry by which a new log continues one that was restored from a backup; it is nobody's own."""
        return self._entry("restored", (), set(), restored=log, memo=memo)

    def _entry(
        self,
        kind: str,
        transfers: tuple[Transfer, ...],
        owners: set[str],
        *,
        settled: SettledJob | None = None,
        restored: RestoredLog | None = None,
        memo: str = "",
    ) -> NewEntry:
        entry = LedgerEntry.from_map(
            {
                "network": self.network,
                "id": secrets.token_hex(12),
                "kind": kind,
                "at": self.at,
                "transfers": transfers,
                "settled": settled,
                "restored": restored,
                "memo": memo,
                "blind": secrets.token_bytes(BLIND_BYTES),
            }
        )
        return NewEntry(entry=entry, owners=frozenset(owners))


def _move(source: str, target: str, microcredits: int) -> tuple[Transfer, ...]:
    if microcredits <= 0:
        raise ValueError("only a positive amount can be moved")
    return (
        Transfer(account=source, microcredits=-microcredits),
        Transfer(account=target, microcredits=microcredits),
    )
