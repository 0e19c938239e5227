"""Workers in groups."""

from gpunode_tracker.workers.by_ability import ByAbility
from gpunode_tracker.workers.selection import Wanted

from tests.tracker.workers.examples import stored_worker

CHAT = Wanted(type="llm", client_region="europe")


def _found(groups: ByAbility[str], job: Wanted) -> dict[str, int]:
    """Return who can do a job, and how far each is from its client."""
    return {item: km for km, items in groups.able(job) for item in items}


def test_who_can_do_a_job() -> None:
    """Its type, its region and its model; with the way to its client."""
    groups: ByAbility[str] = ByAbility()
    groups.put("near", stored_worker(1))
    groups.put("far", stored_worker(2, region="asia", models=("m",)))
    groups.put("images", stored_worker(3, supported_types=("image_gen",)))
    found = _found(groups, CHAT)
    assert found.keys() == {"near", "far"}
    assert found["near"] == 0 < found["far"]
    assert _found(groups, Wanted(type="llm", region="asia")) == {"far": 0}
    assert _found(groups, Wanted(type="llm", model="n")) == {"near": 0}


def test_who_can_do_the_same_is_one_group() -> None:
    """In the order in which they came, the last word counting; lists and tuples are the same."""
    groups: ByAbility[str] = ByAbility()
    for number, name in enumerate("abca"):
        groups.put(name, stored_worker(number, supported_types=["llm"] if number % 2 else ("llm",)))
    assert [[*items] for _, items in groups.able(CHAT)] == [["b", "c", "a"]]


def test_one_that_can_do_something_else_now() -> None:
    """It stands in its new group only."""
    groups: ByAbility[str] = ByAbility()
    groups.put("a", stored_worker(1))
    groups.put("a", stored_worker(1, supported_types=("image_gen",)))
    assert _found(groups, CHAT) == {}
    assert _found(groups, Wanted(type="image_gen")) == {"a": 0}


def test_one_that_left() -> None:
    """Nothing is left of it; one that never was there is no error."""
    groups: ByAbility[str] = ByAbility()
    groups.put("a", stored_worker(1))
    groups.discard("a")
    groups.discard("b")
    assert _found(groups, CHAT) == {}
    assert not groups._groups
