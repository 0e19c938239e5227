import asyncio

import pytest
from gpunode_engines import last_words
from gpunode_engines.last_words import LastWords


async def test_the_end_is_kept() -> None:
    """However much came before; what is no text does no harm."""
    stream = asyncio.StreamReader()
    words = LastWords(stream)
    stream.feed_data(b"x" * 100_000 + b" the \xff end\n")
    stream.feed_eof()
    await words.wait()
    await words.wait()
    assert str(words).endswith("x the \ufffd end")
    assert len(str(words)) < 5_000


async def test_a_pipe_that_breaks_ends_it() -> None:
    """What came before is there."""
    stream = asyncio.StreamReader()
    words = LastWords(stream)
    stream.feed_data(b"hello")
    await asyncio.sleep(0)
    stream.set_exception(ConnectionResetError())
    await words.wait()
    assert str(words) in {"hello", ""}


async def test_a_stranger_who_holds_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for that."""
    monkeypatch.setattr(last_words, "_CLOSE_S", 0.01)
    words = LastWords(asyncio.StreamReader())
    await words.wait()
    await words.wait()
    assert str(words) == ""
