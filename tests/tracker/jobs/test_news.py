import asyncio

from gpunode_tracker.jobs.news import MAX_WAITING_CHARS, MAX_WAITING_WORDS, JobNews, Word


async def test_followers_hear_of_their_job_only() -> None:
    """In order."""
    news = JobNews()
    async with news.follow("a") as waiting:
        for word in (Word("a", "running"), Word("b", "done"), Word("a", "done")):
            news.tell(word)
        assert [waiting.get_nowait().name for _ in range(waiting.qsize())] == ["running", "done"]


async def test_a_slow_follower_misses_the_oldest_words() -> None:
    """Memory is bounded, and the end is among the newest."""
    news = JobNews()
    async with news.follow("a") as waiting:
        for number in range(MAX_WAITING_WORDS + 1):
            news.tell(Word("a", "tokens", {"number": number}))
        assert waiting.get_nowait().data == {"number": 1}


async def test_large_words_wait_less() -> None:
    """Whoever tells much, and reads slowly, must not fill the memory; the newest word always waits."""
    news = JobNews()
    large = "a" * (MAX_WAITING_CHARS // 2)
    async with news.follow("a") as waiting:
        for number in range(5):
            news.tell(Word("a", "tokens", {"text": large, "number": number}))
        assert [waiting.get_nowait().data["number"] for _ in range(waiting.qsize())] == [3, 4]
        news.tell(Word("a", "tokens", {"text": large}))
        news.tell(Word("a", "tokens", {"text": 3 * large}))
        assert [len(waiting.get_nowait().data["text"]) for _ in range(waiting.qsize())] == [3 * len(large)]


async def test_nothing_is_kept_of_a_follower_that_left() -> None:
    """Jobs come and go."""
    news = JobNews()
    async with news.follow("a"):
        pass
    assert not news._followers


async def test_a_change_between_looking_and_waiting_is_not_missed() -> None:
    """Whoever found the queue empty waits from what it had seen."""
    news = JobNews()
    since = news.changes
    await news.queue_grew()
    assert await news.wait_for_queue(since, 5)


async def test_all_who_wait_for_the_queue_wake() -> None:
    """The database decides who gets the job."""
    news = JobNews()
    waiting = [asyncio.create_task(news.wait_for_queue(news.changes, 5)) for _ in range(3)]
    await asyncio.sleep(0)
    await news.queue_grew()
    assert await asyncio.gather(*waiting) == [True] * 3


async def test_waiting_ends() -> None:
    """With an answer."""
    assert not await JobNews().wait_for_queue(0, 0)


async def test_other_replicas_are_told_and_what_they_say_is_not_said_again() -> None:
    """Else two of them would talk for ever."""
    news, told = JobNews(), list[str]()
    news.on_word = lambda word: told.append(word.name)
    news.tell(Word("a", "here"))
    news.heard(Word("a", "there"))
    assert told == ["here"]
