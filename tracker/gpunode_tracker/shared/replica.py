"""This process as one of several trackers of a network, or as the only one: what it shares, and how."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from gpunode_protocol.errors import GpunodeError
from prometheus_client import Counter, Gauge

from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.rate_buckets import RateBuckets
from gpunode_tracker.shared.task_end import end_tasks

if TYPE_CHECKING:
    from gpunode_tracker.shared.advert_exchange import AdvertExchange
    from gpunode_tracker.shared.news_exchange import NewsExchange
    from gpunode_tracker.shared.redis_link import RedisLink
    from gpunode_tracker.shared.redis_presence import RedisPresence
    from gpunode_tracker.tracker import Tracker


class Replica:
    """Begins to share when it is started; works as well if nobody else is there.

    Args:
        settings: name the Redis, if there is one.
        network: so that trackers of several networks may use one Redis.
    """

    def __init__(self, settings: TrackerSettings, network: str) -> None:
        self.id = secrets.token_hex(8)
        self.link = _link(settings, network)
        self._news: NewsExchange | None = None
        self._adverts: AdvertExchange | None = None
        self.presence: RedisPresence | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def redis_state(self) -> Literal["off", "up", "away"]:
        """``off`` (none is set), ``up`` or ``away``."""
        if self.link is None:
            return "off"
        return "away" if self.link.problem else "up"

    @property
    def redis_problem(self) -> str:
        """Why Redis is away, empty if it is not."""
        return self.link.problem if self.link is not None else ""

    def rate_buckets(self, own: RateBuckets) -> RateBuckets:
        """Return the buckets of all replicas; ``own``: of this process, for when there is no Redis."""
        if self.link is None:
            return own
        from gpunode_tracker.shared.fallback_rate_buckets import FallbackRateBuckets  # noqa: PLC0415 -- as above
        from gpunode_tracker.shared.redis_rate_buckets import RedisRateBuckets  # noqa: PLC0415 -- as above

        return FallbackRateBuckets(RedisRateBuckets(self.link), own)

    async def start(self, tracker: "Tracker") -> None:
        """Connect to Redis if there is one, which may be away, and begin to exchange."""
        if self.link is not None:
            await self._start_redis(self.link, tracker)
        if tracker.database.is_shared:
            self._start_database_exchange(tracker)

    async def stop(self) -> None:
        """End all of it."""
        await end_tasks(self._tasks)
        if self._adverts is not None:
            with contextlib.suppress(GpunodeError):
                await self._adverts.exchange()  # who left in the last second
        if self._news is not None:
            await self._news.stop()
        if self.link is not None:
            await self.link.stop()

    async def _start_redis(self, link: "RedisLink", tracker: "Tracker") -> None:
        from gpunode_tracker.shared.news_exchange import NewsExchange  # noqa: PLC0415 -- as above

        metrics = tracker.metrics
        is_up = Gauge("gpunode_tracker_redis_up", "Whether Redis is used now.", registry=metrics.registry)
        link.on_change = is_up.set
        link.on_failure = metrics.redis_failures.inc
        await link.start()
        self._news = NewsExchange(link, tracker.news, replica=self.id, on_dropped=_counting(metrics.news_dropped))
        self._news.start()

    def _start_database_exchange(self, tracker: "Tracker") -> None:
        from gpunode_tracker.shared.advert_exchange import AdvertExchange  # noqa: PLC0415 -- of no use on SQLite
        from gpunode_tracker.shared.job_poll import JobPoll  # noqa: PLC0415 -- as above

        poll = JobPoll(tracker.database, tracker.news, lambda: self.link is not None and self.link.is_up)
        self._adverts = AdvertExchange(tracker.database, tracker.index, tracker.clock)
        self._tasks = [asyncio.create_task(poll.run()), asyncio.create_task(self._adverts.run())]
        if self.link is not None:
            from gpunode_tracker.shared.redis_presence import RedisPresence  # noqa: PLC0415 -- as above

            dropped = tracker.metrics.signs_dropped
            self.presence = RedisPresence(self.link, tracker.workers.presence, on_dropped=_counting(dropped))
            self._tasks.append(asyncio.create_task(self.presence.run()))


def _link(settings: TrackerSettings, network: str) -> "RedisLink | None":
    if settings.redis_url is None:
        return None
    from gpunode_tracker.shared.redis_link import RedisLink  # noqa: PLC0415 -- most trackers need none

    return RedisLink(settings.redis_url.get_secret_value(), f"gpunode:{network}")


def _counting(counter: Counter) -> Callable[[str], None]:
    """Return what counts something with its reason."""
    return lambda reason: counter.labels(reason).inc()
