"""What is remembered of keys and tokens."""

import asyncio

from gpunode_tracker.lookup_cache import LIFETIME_S, LookupCache

from tests.tracker.parties import TestClock


class Register:
    """Answers look-ups, and counts them. holders: by secret."""

    def __init__(self, clock: TestClock, *, entries: int = 10) -> None:
        self.holders = {"s1": "alice", "s2": "alice", "s3": "bob"}
        self.asked: list[str] = []
        self.cache: LookupCache[str] = LookupCache(clock, lambda holder: holder, entries=entries)

    async def find(self, secret: str) -> str | None:
        """Return who holds a secret."""

        async def look_up() -> str | None:
            self.asked.append(secret)
            return self.holders.get(secret)

        return await self.cache.find(secret, look_up)


async def test_a_secret_is_looked_up_once_in_a_while(clock: TestClock) -> None:
    """Within the time that is documented what others changed is seen."""
    register = Register(clock)
    assert [await register.find("s1") for _ in range(3)] == ["alice"] * 3
    assert register.asked == ["s1"]
    register.holders["s1"] = "carol"
    clock.advance(LIFETIME_S - 0.1)
    assert await register.find("s1") == "alice"
    clock.advance(0.1)
    assert await register.find("s1") == "carol"
    register.cache.forget("alice")  # whose it is no longer
    assert await register.find("s1") == "carol"
    assert register.asked == ["s1", "s1"]


async def test_what_is_unknown_is_looked_up_each_time(clock: TestClock) -> None:
    """Guesses fill no memory, and a new key works at once."""
    register = Register(clock)
    assert await register.find("new") is None
    assert len(register.cache) == 0
    register.holders["new"] = "alice"
    assert await register.find("new") == "alice"


async def test_what_changed_here_counts_at_once(clock: TestClock) -> None:
    """For all secrets of its owner, and for nobody else's."""
    register = Register(clock)
    for secret in ("s1", "s2", "s3"):
        await register.find(secret)
    register.holders = {"s3": "bob"}
    register.cache.forget("alice")
    assert [await register.find(secret) for secret in ("s1", "s2", "s3")] == [None, None, "bob"]
    assert register.asked == ["s1", "s2", "s3", "s1", "s2"]


async def test_a_look_up_that_a_change_overtook_is_not_kept(clock: TestClock) -> None:
    """It may have been read before the change."""
    register = Register(clock)
    read, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> str | None:
        found = register.holders.pop("s1")
        read.set()
        await go_on.wait()
        return found

    looking = asyncio.create_task(register.cache.find("s1", slow))
    await read.wait()
    register.cache.forget("alice")
    go_on.set()
    assert await looking == "alice"
    assert await register.find("s1") is None


async def test_memory_is_bounded(clock: TestClock) -> None:
    """The ones that were looked up first make room, in the lists of their owners too."""
    register = Register(clock, entries=2)
    for secret in ("s1", "s2", "s3"):
        await register.find(secret)
    assert len(register.cache) == 2
    await register.find("s1")
    assert register.asked == ["s1", "s2", "s3", "s1"]
    register.cache.forget("alice")
    register.cache.forget("bob")
    assert len(register.cache) == 0
    assert register.cache._secrets_of == {}


async def test_what_is_known_needs_no_look_up(clock: TestClock) -> None:
    """Nor is any made for what is not."""
    register = Register(clock)
    assert register.cache.known("s1") is None
    await register.find("s1")
    assert [register.cache.known(secret) for secret in ("s1", "s2")] == ["alice", None]
    clock.advance(LIFETIME_S)
    assert register.cache.known("s1") is None
    assert register.asked == ["s1"]
