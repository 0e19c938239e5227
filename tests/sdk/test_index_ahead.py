import asyncio

import pytest
from gpunode._index_ahead import GOOD_FOR_S, IndexAhead
from gpunode._selection import Wanted
from gpunode.errors import TrackerUnreachable
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NodesReply

from tests.sdk.world import Keys

WANTED = Wanted(Task.LLM, "model")
REPLY = Keys().index()


class _Index:
    """The index with what the tracker was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[Wanted] = []
        self.down = False
        self.ahead = IndexAhead(self._fetch, monotonic=lambda: self.now)

    async def _fetch(self, wanted: Wanted) -> NodesReply:
        self.asked.append(wanted)
        await asyncio.sleep(0)
        if self.down:
            raise TrackerUnreachable
        return REPLY


async def test_what_was_asked_for_before_serves_once() -> None:
    """The next search asks for what is there now."""
    index = _Index()
    index.ahead.begin(WANTED)
    index.ahead.begin(WANTED)
    await asyncio.sleep(0)
    assert index.asked == [WANTED]
    assert await index.ahead(WANTED) is REPLY
    assert index.asked == [WANTED]
    await index.ahead(WANTED)
    assert index.asked == [WANTED] * 2


async def test_another_question_is_asked_anew() -> None:
    """Another model, another region."""
    index = _Index()
    index.ahead.begin(WANTED)
    await asyncio.sleep(0)
    others = [Wanted(Task.LLM, "other"), Wanted(Task.LLM, "model", Region.ASIA)]
    for other in others:
        await index.ahead(other)
    assert index.asked == [WANTED, *others]
    await index.ahead.close()


async def test_an_old_answer_serves_nobody() -> None:
    """Nodes have come and gone since."""
    index = _Index()
    index.ahead.begin(WANTED)
    await asyncio.sleep(0)
    index.now = GOOD_FOR_S
    await index.ahead(WANTED)
    assert index.asked == [WANTED] * 2


async def test_a_failure_is_told_to_whoever_needs_the_index() -> None:
    """And to nobody if nobody does."""
    index = _Index()
    index.down = True
    index.ahead.begin(WANTED)
    with pytest.raises(TrackerUnreachable):
        await index.ahead(WANTED)
    index.ahead.begin(WANTED)
    await asyncio.sleep(0)
    await index.ahead.close()
    assert len(index.asked) == 1 + 1
