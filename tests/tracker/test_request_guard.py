"""The limits of one tracker."""

import pytest
from gpunode_tracker.client_addresses import parse_network
from gpunode_tracker.limits import Budget, Limits
from gpunode_tracker.rate_buckets import MemoryRateBuckets
from gpunode_tracker.rates import Decision, Rate, decide
from gpunode_tracker.request_guard import RequestGuard, refusal

from tests.tracker.parties import TestClock


async def test_budgets_have_their_own_rates(clock: TestClock) -> None:
    """The settings' rate counts, and the refusal names it, its budget and when to come again."""
    limits = Limits(rates={Budget.SUBMITS: Rate(per_minute=6, burst=1)})
    guard = RequestGuard(limits, (), MemoryRateBuckets(clock))
    assert (await guard.charge(Budget.SUBMITS, "account:x")).decision.allowed
    refused = await guard.charge(Budget.SUBMITS, "account:x")
    assert not refused.decision.allowed
    error = refusal(refused)
    assert (error.reason, error.retry_after_s) == ("submits", pytest.approx(10))
    assert "from this key or token: 6 a minute and 1 at once" in str(error)
    assert (await guard.charge(Budget.LOOKUPS, "account:x")).decision.allowed


def test_proxies_are_the_settings(clock: TestClock) -> None:
    """Their header is believed, others' is not."""
    guard = RequestGuard(Limits(), (parse_network("127.0.0.1"),), MemoryRateBuckets(clock))
    assert guard.address_of("127.0.0.1", ("192.0.2.1",)) == "192.0.2.1"
    assert guard.address_of("127.0.0.2", ("192.0.2.1",)) == "127.0.0.2"
    assert guard.came_over_tls("127.0.0.1", ("https",))
    assert not guard.came_over_tls("127.0.0.2", ("https",))


async def test_keys_with_limits_of_their_own(clock: TestClock) -> None:
    """As many as a minute has may come at once, then evenly; each key has its own."""
    guard = RequestGuard(Limits(), (), MemoryRateBuckets(clock))
    charges = [await guard.charge_key("k", 2) for _ in range(3)]
    assert [charge.decision.allowed for charge in charges] == [True, True, False]
    error = refusal(charges[-1])
    assert (error.reason, error.retry_after_s) == ("key", pytest.approx(30))
    assert (await guard.charge_key("other", 2)).decision.allowed


class _Shared:
    """Buckets that somebody else keeps."""

    async def take(self, _budget: str, _holder: str, rate: Rate, _cost: int = 1) -> Decision:
        return decide(rate, 0, 0, 0)[1]


async def test_own_buckets_need_no_waiting(clock: TestClock) -> None:
    """They are the same as with waiting; those of others have to be asked."""
    limits = Limits(rates={Budget.SUBMITS: Rate(per_minute=6, burst=2)})
    guard = RequestGuard(limits, (), MemoryRateBuckets(clock))
    now = guard.charge_now(Budget.SUBMITS, "account:x")
    assert now is not None
    later = await guard.charge(Budget.SUBMITS, "account:x")
    assert (now.decision.remaining, later.decision.remaining) == (1, 0)
    assert RequestGuard(limits, (), _Shared()).charge_now(Budget.SUBMITS, "account:x") is None
