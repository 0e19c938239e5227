"""Turns requests away that ask for more than one client may, before they cost much."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpunode_tracker.client_addresses import Network, client_address
from gpunode_tracker.errors import TooManyRequests
from gpunode_tracker.in_flight import InFlight
from gpunode_tracker.limits import Budget, Limits
from gpunode_tracker.rate_buckets import RateBuckets
from gpunode_tracker.rates import Decision, Rate

_WHOSE = {
    Budget.SUBMITS: "this key or token",
    Budget.LOOKUPS: "this key or token",
    Budget.HEARTBEATS: "this token",
    Budget.SETTLEMENTS: "this key or token",
    Budget.WORK: "this token",
}


@dataclass(frozen=True)
class Charge:
    """What a budget said to a request."""

    budget: Budget
    rate: Rate
    decision: Decision


class RequestGuard:
    """The limits of one tracker.

    Args:
        limits: the settings.
        proxies: whose X-Forwarded-For is believed.
        buckets: where rates are counted.
    """

    def __init__(self, limits: Limits, proxies: Sequence[Network], buckets: RateBuckets) -> None:
        self.limits = limits
        self.in_flight = InFlight(limits)
        self._proxies = proxies
        self._buckets = buckets

    def address_of(self, peer: str | None, forwarded: Iterable[str]) -> str:
        """Return the address that a request comes from."""
        return client_address(peer, forwarded, self._proxies)

    async def charge(self, budget: Budget, holder: str, cost: int = 1) -> Charge:
        """Count a request; whether it may be served stands in the charge."""
        rate = self.limits.rates[budget]
        return Charge(budget, rate, await self._buckets.take(budget, holder, rate, cost))


def refusal(charge: Charge) -> TooManyRequests:
    """Return the error for a request that a budget has no room for."""
    whose = _WHOSE.get(charge.budget, "your address")
    what = charge.budget.replace("_", " ")
    return TooManyRequests(
        f"Too many requests from {whose}: {charge.rate.per_minute} a minute and {charge.rate.burst} at once count "
        f"under '{what}'. Wait as long as Retry-After says.",
        retry_after_s=charge.decision.retry_after_s,
        reason=charge.budget,
    )
