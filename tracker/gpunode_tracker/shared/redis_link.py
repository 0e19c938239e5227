"""The way to Redis: bounded waits, and none at all while it is known to be away.

A failure of a call makes the link doubtful: nobody else calls until a probe has answered. If the probe fails too, Redis
is away, the log says so once, and the probe is repeated until it answers.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError, ResponseError

from gpunode_tracker.errors import TrackerError
from gpunode_tracker.shared.task_end import end_tasks

logger = logging.getLogger(__name__)

T = TypeVar("T")

TIMEOUT_S: Final = 0.1
"""For one call, waiting for a connection included: Redis answers within a millisecond, or not soon."""
WATCH_INTERVAL_S: Final = 1.0
"""Between two probes, whether it answers or not."""
MAX_CONNECTIONS: Final = 64
_PROBE_LIFETIME_MS: Final = 1_000


class RedisAway(TrackerError):
    """Redis does not answer now; the caller does without it."""


class RedisRefused(RedisAway):
    """Redis answers, but something else than what it was asked for."""


@contextlib.contextmanager
def failures_as_away() -> Iterator[None]:
    """Let whatever fails within mean that Redis is away.

    All of it: a server that speaks nonsense makes redis-py raise about anything, and nobody is to fail for that.

    Raises:
        RedisAway: it failed.
    """
    try:
        yield
    except ResponseError as error:
        raise RedisRefused(_reason(error)) from error
    except (RedisError, OSError) as error:
        raise RedisAway(_reason(error)) from error
    except Exception as error:
        raise RedisRefused(f"its answer is none that is known: {_reason(error)}") from error


class RedisLink:
    """Connections to one Redis server.

    Args:
        url: see ``redis_urls``.
        prefix: of all keys of this network.
        timeout_s: see ``TIMEOUT_S``. watch_interval_s: see ``WATCH_INTERVAL_S``.
    """

    def __init__(
        self, url: str, prefix: str, *, timeout_s: float = TIMEOUT_S, watch_interval_s: float = WATCH_INTERVAL_S
    ) -> None:
        self.prefix = prefix
        self.problem = ""
        self.visits = 0
        self.on_failure: Callable[[], None] = lambda: None
        self.on_change: Callable[[bool], None] = _ignore
        self._timeout_s = timeout_s
        self._watch_interval_s = watch_interval_s
        self._client = _client(url, timeout_s)
        self._is_up = False
        self._is_trusted = False
        self._came_up = asyncio.Event()
        self._doubted = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether calls are tried now."""
        return self._is_trusted

    async def start(self) -> None:
        """Look whether Redis answers, and keep looking."""
        await self._probe(is_first=True)
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Close all connections."""
        if self._watching is not None:
            await end_tasks([self._watching])
        self._is_trusted = False
        await self._close(all_of_them=True)

    async def wait_until_up(self) -> None:
        """Return when Redis answers; at once if it does."""
        while not self._is_trusted:
            self._came_up.clear()
            await self._came_up.wait()

    async def call(self, what: Callable[[Redis], Awaitable[T]]) -> T:
        """Return what a call answers.

        Raises:
            RedisAway: it did not within the time, or failed, or nobody calls now.
        """
        if not self._is_trusted:
            raise RedisAway
        try:
            return await self._bounded(what)
        except RedisAway:
            self.doubt()
            raise

    def doubt(self) -> None:
        """Note that something failed: no calls until a probe has answered."""
        self.on_failure()
        self._is_trusted = False
        self._doubted.set()

    def script(self, text: str) -> AsyncScript:
        """Return a Lua script that runs within ``call``; it is sent once and then named by its digest."""
        return self._client.register_script(text)

    def listener(self) -> PubSub:
        """Return a connection of its own for messages; it must be closed."""
        return self._client.pubsub(ignore_subscribe_messages=True)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._watch_interval_s):
                    await self._doubted.wait()
            was_doubted = self._doubted.is_set()
            self._doubted.clear()
            await self._probe(is_first=False)
            if was_doubted and not self._is_trusted:
                await asyncio.sleep(self._watch_interval_s)

    async def _probe(self, *, is_first: bool) -> None:
        """Find out whether Redis answers and can be written, which a full one or a read-only copy cannot."""
        try:
            await self._bounded(lambda redis: redis.set(f"{self.prefix}:probe", 1, px=_PROBE_LIFETIME_MS))
        except RedisAway as error:
            self._is_trusted = False
            if self._is_up or is_first:
                self._note_loss(error)
            await self._close()  # what hangs or was cut is of no use any more
            return
        self._is_trusted = True
        if not self._is_up:
            self._note_return(is_first=is_first)
        self._came_up.set()

    def _note_loss(self, error: RedisAway) -> None:
        self._is_up = False
        self.problem = str(error)
        self.on_change(False)
        logger.warning(
            "Redis cannot be used (%s). Until it can, rates count for this tracker process alone, what other processes "
            "do to jobs is seen a second later, and which workers they hear half a minute later. Those that "
            "still use it see what this one does to jobs within ten seconds.",
            error,
            extra={"event": "redis_away"},
        )

    def _note_return(self, *, is_first: bool) -> None:
        self._is_up = True
        self.problem = ""
        self.visits += 1
        self.on_change(True)
        if not is_first:
            logger.warning("Redis answers again", extra={"event": "redis_back"})

    async def _bounded(self, what: Callable[[Redis], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                with failures_as_away():
                    return await what(self._client)
        except TimeoutError as error:
            raise RedisAway(f"no answer within {self._timeout_s * 1_000:.0f} ms") from error

    async def _close(self, *, all_of_them: bool = False) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await self._client.connection_pool.disconnect(inuse_connections=all_of_them)


def _client(url: str, timeout_s: float) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis(connection_pool=pool)


def _reason(error: Exception) -> str:
    """Return what failed, in one line; messages of redis-py hold no password."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _ignore(_is_up: bool) -> None:
    """Nobody wants to know."""
