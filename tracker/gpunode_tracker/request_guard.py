"""Turns requests away that ask for more than one client may, before they cost much."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gpunode_tracker.api_keys import ApiKey
from gpunode_tracker.client_addresses import Network, client_address, is_https
from gpunode_tracker.errors import TooManyRequests
from gpunode_tracker.in_flight import InFlight, Visit
from gpunode_tracker.limits import Budget, Limits
from gpunode_tracker.rate_buckets import MemoryRateBuckets, RateBuckets
from gpunode_tracker.rates import Decision, Rate

KEY_BUDGET: Final = "key"
"""What a key's own ``requests_per_minute`` allows; the settings have no rate for it."""

_WHOSE: Final[dict[str, str]] = {
    KEY_BUDGET: "this key",
    Budget.SUBMITS: "this key or token",
    Budget.LOOKUPS: "this key or token",
    Budget.HEARTBEATS: "this token",
    Budget.SETTLEMENTS: "this key or token",
    Budget.WORK: "this token",
}


@dataclass(slots=True)
class Charge:
    """What a budget said to a request, see ``Decision``. ``budget``: one of ``Budget``, or ``KEY_BUDGET``."""

    budget: str
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
        self._rates = limits.rates  # a model's fields are slower to get at
        self.in_flight = InFlight(limits)
        self._proxies = proxies
        self._buckets = buckets
        self._own = buckets if isinstance(buckets, MemoryRateBuckets) else None

    def address_of(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """Return the address that a request comes from."""
        return client_address(peer, forwarded, self._proxies)

    def came_over_tls(self, peer: str | None, schemes: Iterable[str]) -> bool:
        """Whether a proxy says that its client spoke TLS with it."""
        return is_https(peer, schemes, self._proxies)

    async def charge(self, budget: Budget, holder: str, cost: int = 1) -> Charge:
        """Count a request; whether it may be served stands in the charge."""
        rate = self._rates[budget]
        return Charge(budget, rate, await self._buckets.take(budget, holder, rate, cost))

    def charge_now(self, budget: Budget, holder: str, cost: int = 1) -> Charge | None:
        """Count a request likewise without waiting; None if somebody else has to be asked, see ``charge``."""
        if self._own is None:
            return None
        rate = self._rates[budget]
        return Charge(budget, rate, self._own.take_now(budget, holder, rate, cost))

    def has_full_bucket(self, budget: Budget, holder: str) -> bool:
        """Return whether nothing was taken lately, as far as that can be seen at once."""
        return self._own is not None and self._own.is_full(budget, holder)

    async def charge_key(self, key_id: str, requests_per_minute: int) -> Charge:
        """Count a request on a key that has a limit of its own; that many may also come at once."""
        rate = Rate(per_minute=requests_per_minute, burst=requests_per_minute)
        return Charge(KEY_BUDGET, rate, await self._buckets.take(KEY_BUDGET, key_id, rate))


@dataclass(slots=True, eq=False)
class Call:
    """One request; one object, because every part that a request carries by itself costs it time.

    Args:
        id: names it in answers and in the log.
        path: of its route, with variables in braces; ``NO_ROUTE`` if there is none for it.
        address: from which it comes, behind trusted proxies.
        holder: what is counted for that, see ``holder_of``.
        guard: the limits that it passes.
        visit: that it is being worked on.
        charges: on which budgets it was counted so far.
        key: the API key that it came with; None until it was found.
    """

    id: str
    path: str
    address: str
    holder: str
    guard: RequestGuard
    visit: Visit
    charges: list[Charge]
    key: ApiKey | None = None


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
