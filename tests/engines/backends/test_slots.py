import pytest
from gpunode_engines.backends.slots import Lease, SlotTable


def used(table: SlotTable, owner: str) -> Lease:
    """Run a short job of an owner."""
    with table.lease(owner) as lease:
        return lease


def test_an_owner_comes_back_to_its_slot() -> None:
    """The cache is reused only by whoever filled it."""
    table = SlotTable(3)
    alice = used(table, "alice")
    bob = used(table, "bob")
    assert alice.slot != bob.slot
    assert not alice.reuse_cache
    assert used(table, "alice") == Lease(alice.slot, reuse_cache=True)


def test_without_an_owner_nothing_is_shared() -> None:
    """Anonymous jobs never reuse, not even each other's."""
    table = SlotTable(1)
    assert not used(table, "").reuse_cache
    assert not used(table, "").reuse_cache
    used(table, "alice")
    assert not used(table, "").reuse_cache
    assert not used(table, "alice").reuse_cache


def test_the_slot_unused_for_longest_is_taken() -> None:
    """Other owners' caches live as long as possible."""
    table = SlotTable(2)
    alice, bob = used(table, "alice"), used(table, "bob")
    used(table, "alice")
    assert used(table, "carol").slot == bob.slot
    assert used(table, "alice").slot == alice.slot


def test_a_busy_slot_is_not_shared() -> None:
    """Two jobs of one owner at once run in two slots; both may be reused later."""
    table = SlotTable(2)
    with table.lease("alice") as first, table.lease("alice") as second:
        assert first.slot != second.slot
    assert used(table, "alice").slot == second.slot


def test_a_failed_job_frees_its_slot() -> None:
    """Whatever happens in it."""
    table = SlotTable(1)
    with pytest.raises(RuntimeError), table.lease("alice"):
        raise RuntimeError
    assert used(table, "bob").slot == 0
