"""Rate buckets of all replicas while Redis answers, else of this process."""

from gpunode_tracker.rate_buckets import RateBuckets
from gpunode_tracker.rates import Decision, Rate
from gpunode_tracker.shared.redis_link import RedisAway


class FallbackRateBuckets:
    """Asks ``shared`` first.

    What was allowed is counted in ``own`` too, so that an outage of Redis forgives nothing of what was used up here.

    Args:
        shared: raises ``RedisAway`` when it cannot decide, within a tenth of a second.
        own: of this process.
    """

    def __init__(self, shared: RateBuckets, own: RateBuckets) -> None:
        self._shared = shared
        self._own = own

    async def take(self, budget: str, holder: str, rate: Rate, cost: int = 1) -> Decision:
        """See ``RateBuckets``."""
        try:
            decision = await self._shared.take(budget, holder, rate, cost)
        except RedisAway:
            return await self._own.take(budget, holder, rate, cost)
        if decision.allowed and cost:
            await self._own.take(budget, holder, rate, cost)
        return decision
