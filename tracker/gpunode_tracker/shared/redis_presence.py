"""Which workers live, told between replicas through a stream of Redis, a second after they were heard.

The ``PresenceStore`` beside the database, which hears of workers less often meanwhile. Entries end by themselves.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from pydantic import TypeAdapter
from redis.asyncio import Redis

from gpunode_tracker.repeating import every
from gpunode_tracker.shared.redis_link import RedisAway, RedisLink, RedisRefused
from gpunode_tracker.workers.presence import SILENT_S, Presence
from gpunode_tracker.workers.signs import SignOfLife

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0
LIFETIME_MS: Final = int(1_000 * SILENT_S)
"""Older words say nothing: who was silent for so long is off."""
MAX_SIGNS: Final = 100_000
"""In the stream, about 35 MB; beyond, the oldest go. Ten thousand workers need half of it at most."""
MAX_AHEAD_MS: Final = 60_000
"""Places of the stream go by the clock of Redis, which may be set back by so much."""
MAX_SIGN_BYTES: Final = 64 * 1024
BATCH_SIGNS: Final = 256
PAGE_SIGNS: Final = 512
"""Read at once: some milliseconds in which nothing else is served."""
_FIELD: Final = b"s"
_SIGN: Final = TypeAdapter(SignOfLife)


class RedisPresence:
    """Tells of the workers that are heard here, and hears of those of others. See ``PresenceStore``.

    A worker that is not known here stays unknown until it was read from the database.

    Args:
        link: to Redis.
        presence: of this process; it writes to the database less often while the link is up.
        on_dropped: called with the reason for what was not understood.
    """

    def __init__(self, link: RedisLink, presence: Presence, *, on_dropped: Callable[[str], None]) -> None:
        self._link = link
        self._presence = presence
        self._on_dropped = on_dropped
        self._stream = f"{link.prefix}:workers"
        self._to_tell: set[str] = set()
        self._read_until: bytes | None = None
        self._visit = 0
        self._server_ms = 0
        self._is_refused = False
        presence.on_sign = self._note
        presence.is_told = lambda: link.is_up

    async def run(self) -> None:
        """Exchange every second, until cancelled. While Redis is away, which its link says, nothing is done."""
        await every(INTERVAL_S, self._exchange, "presence_not_exchanged", at_once=True)

    async def _exchange(self) -> None:
        try:
            await self.flush()
            await self.read()
            self._is_refused = False
        except RedisRefused as error:
            self._note_refusal(error)
        except RedisAway:
            pass

    async def flush(self) -> int:
        """See ``PresenceStore``.

        Raises:
            RedisAway: as there.
        """
        if not self._link.is_up:
            self._to_tell = {worker_id for worker_id in self._to_tell if self._presence.find(worker_id) is not None}
            raise RedisAway
        ids, self._to_tell = self._to_tell, set()
        signs = self._presence.take_signs(ids)
        try:
            for start in range(0, len(signs), BATCH_SIGNS):
                await self._link.call(partial(self._add, signs[start : start + BATCH_SIGNS]))
        except BaseException:
            self._to_tell.update(sign.id for sign in signs)
            raise
        return len(signs)

    async def read(self) -> None:
        """See ``PresenceStore``.

        Raises:
            RedisAway: as there.
        """
        after = self._read_until
        if after is None or self._visit != self._link.visits:  # another server may stand there now
            self._visit = self._link.visits
            self._read_until = after = _place(await self._link.call(_time_ms) - LIFETIME_MS)
        while page := await self._link.call(partial(self._page, after)):
            for place, message in page:
                self._read_until = after = place  # first: what cannot be taken in is not read again
                self._hear(message)
            if len(page) < PAGE_SIGNS:
                return
        if await self._link.call(partial(self._is_another, after)):
            self._read_until = None

    def _note(self, worker_id: str) -> None:
        self._to_tell.add(worker_id)

    async def _add(self, signs: Sequence[SignOfLife], redis: Redis) -> None:
        if await self._append(signs, redis):
            return
        logger.warning(
            "Somebody wrote into %s in Redis at a place that is far ahead of its clock, after which hardly anything or "
            "nothing can be written. It is begun anew. Nobody but the tracker's replicas may write there.",
            self._stream,
            extra={"event": "presence_begun_anew"},
        )
        await redis.delete(self._stream)  # what others had not read of it is said again within seconds
        await self._append(signs, redis)

    async def _append(self, signs: Sequence[SignOfLife], redis: Redis) -> bool:
        """Write signs; return False if the stream has come to a place that is far ahead of the clock of Redis.

        Raises:
            ResponseError: Redis refused for another reason.
        """
        pipeline = redis.pipeline(transaction=False)
        pipeline.time()
        for sign in signs:
            pipeline.xadd(self._stream, {_FIELD: _SIGN.dump_json(sign)}, maxlen=MAX_SIGNS, approximate=True)
        pipeline.xtrim(self._stream, minid=_place(self._server_ms - LIFETIME_MS), approximate=True)
        pipeline.pexpire(self._stream, LIFETIME_MS)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        failure = next((answer for answer in answers if isinstance(answer, Exception)), None)
        if failure is None:
            self._server_ms = 1_000 * answers[0][0]  # by the clock of Redis, on which replicas agree
            newest = answers[len(signs)]
        else:
            newest = (await redis.xinfo_stream(self._stream))["last-generated-id"]
        now_ms = self._server_ms if failure is None else await _time_ms(redis)
        is_ahead = _numbers(newest)[0] > now_ms + MAX_AHEAD_MS
        if failure is not None and not is_ahead:
            raise failure
        return not is_ahead

    async def _page(self, after: bytes, redis: Redis) -> list[tuple[bytes, bytes | None]]:
        found: Any = await redis.xread({self._stream: after}, count=PAGE_SIGNS)  # annotated for all protocols
        return [(place, fields.get(_FIELD)) for place, fields in found[0][1]] if found else []

    async def _is_another(self, read_until: bytes, redis: Redis) -> bool:
        """Return whether the stream ends before what was read of it: it was emptied, and may begin at earlier places.

        Places go by the clock of Redis, but never back, so those of before may be ahead of it.
        """
        last: Any = await redis.xrevrange(self._stream, count=1)
        return not last or _numbers(last[0][0]) < _numbers(read_until)

    def _note_refusal(self, error: RedisRefused) -> None:
        """Say once that Redis does not do this, although it answers."""
        if not self._is_refused:
            self._is_refused = True
            logger.warning(
                "Redis does not carry what replicas tell each other of pull workers (%s). It has to be version 6.2 or "
                "later, and nobody else may write under %s. Until then they learn it from the database, half a minute "
                "later.",
                error,
                self._stream,
                extra={"event": "presence_refused"},
            )

    def _hear(self, message: bytes | None) -> None:
        try:
            if message is None or len(message) > MAX_SIGN_BYTES:
                raise ValueError
            sign = _SIGN.validate_json(message)
        except ValueError:  # pydantic's ValidationError is one
            self._on_dropped("malformed")
            return
        self._presence.hear_elsewhere(sign)


def _place(at_ms: int) -> bytes:
    """Return the place in the stream that an instant has."""
    return b"%d-0" % max(0, at_ms)


def _numbers(place: bytes) -> tuple[int, ...]:
    """Return a place in the stream as what can be compared."""
    return tuple(int(number) for number in place.split(b"-"))


async def _time_ms(redis: Redis) -> int:
    """Return the time on the clock of Redis, Unix milliseconds."""
    seconds, _ = await redis.time()
    return 1_000 * seconds
