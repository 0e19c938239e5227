"""What is left of open grants."""

from gpunode._spending import Spending
from gpunode_protocol.grants import Cap, Confirmation, Grant
from gpunode_protocol.identity import Identity

GRANT = Grant(
    iss="gpunode:n",
    aud="gpunode:n",
    sub="s",
    jti="one",
    iat=0,
    exp=60,
    cnf=Confirmation(peer=Identity.from_seed(b"\x04" * 32).peer_id),
    tasks=("llm",),
    jobs=1,
    price=1,
    cap=Cap(open=100),
)


def test_jobs_under_way_count_with_the_most_that_they_may_cost() -> None:
    """Until they are over; then with what was signed for."""
    spending = Spending()
    spending.promise("one", 40)
    spending.promise("one", 40)
    assert spending.left_microcredits(GRANT) == 20
    spending.spend("one", 5)
    spending.give_back("one", 40)
    assert spending.left_microcredits(GRANT) == 55


def test_other_grants_do_not_count() -> None:
    """Each has its own reservation."""
    spending = Spending()
    spending.spend("two", 70)
    assert spending.left_microcredits(GRANT) == 100


def test_grants_that_are_not_shown_any_more_are_forgotten() -> None:
    """Unless jobs are under way, which may show one to another node yet."""
    spending = Spending()
    spending.spend("one", 70)
    spending.promise("one", 10)
    spending.keep({"two"})
    assert spending.left_microcredits(GRANT) == 20
    spending.give_back("one", 10)
    spending.keep({"two"})
    assert spending.left_microcredits(GRANT) == 100
