"""Rate buckets that replicas share: one atomic script a charge, deciding as ``rates.decide`` does."""

from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis

from gpunode_tracker.rates import Decision, Rate, decide
from gpunode_tracker.shared.redis_link import RedisLink

#: KEYS: the bucket. ARGV: seconds of one unit, burst, cost, and now ("" = the server's clock). What is kept is when the
#: bucket will be full; a full one is no key at all. Returns when it would have been full, and now.
CHARGE_SCRIPT: Final = """
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(ARGV[4])
if now == nil then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
local start = math.max(full_at, now)
local after = start + math.min(cost, burst) * interval
if cost > 0 and after - (now + burst * interval) <= 0.000001 then
  redis.call('SET', KEYS[1], string.format('%.17g', after), 'PX', math.ceil((after - now) * 1000) + 1)
end
return {string.format('%.17g', full_at), string.format('%.17g', now)}
"""


class RedisRateBuckets:
    """Buckets in Redis, under keys that end when a bucket is full.

    Args:
        link: to Redis.
        clock: seconds; None = the server's, so that replicas whose clocks differ agree.
    """

    def __init__(self, link: RedisLink, clock: Callable[[], float] | None = None) -> None:
        self._link = link
        self._clock = clock
        self._charge = link.script(CHARGE_SCRIPT)

    async def take(self, budget: str, holder: str, rate: Rate, cost: int = 1) -> Decision:
        """See ``RateBuckets``.

        Raises:
            RedisAway: nothing was decided.
        """
        key = f"{self._link.prefix}:rate:{budget}:{holder}".encode(errors="surrogateescape")
        now = "" if self._clock is None else _exact(self._clock())
        arguments: list[str | int] = [_exact(rate.interval_s), rate.burst, cost, now]

        async def charge(_: Redis) -> tuple[float, float]:
            full_at, decided_at = await self._charge(keys=[key], args=arguments)
            return float(full_at), float(decided_at)

        full_at, decided_at = await self._link.call(charge)
        return decide(rate, full_at, decided_at, cost)[1]


def _exact(seconds: float) -> str:
    """Return a number that reads back as the same one."""
    return format(seconds, ".17g")
