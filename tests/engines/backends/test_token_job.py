"""From tokens to events, with a vocabulary of bytes."""

import threading

import pytest
import torch
from gpunode_engines.backends.token_job import TokenJob
from gpunode_engines.base import Event, Finished, GenerateRequest, Tokens
from gpunode_engines.errors import BackendFailed
from gpunode_engines.vocabulary import Vocabulary

VOCABULARY = Vocabulary(bytes([value]) for value in range(256))
END = 0


class Started:
    """A job and its events."""

    def __init__(self, **fields: object) -> None:
        values: dict[str, object] = {
            "job_key": "j",
            "prompt_ids": (1, 2),
            "max_tokens": 10,
            "temperature": 0.0,
        } | fields
        self.events: list[Event] = []
        self.cancelled = threading.Event()
        request = GenerateRequest(**values)  # type: ignore[arg-type]  # -- tests pass fields of the request
        self.job = TokenJob(request, VOCABULARY, {END}, self.events.append, self.cancelled)

    def conclude(self) -> None:
        """Wait as a batch does, then have the end told."""
        self.job.wait()
        self.job.conclude()

    def feed(self, token_id: int) -> None:
        """Have the model want exactly this token."""
        logits = torch.zeros(256)
        logits[token_id] = 9.0
        assert self.job.advance(logits) == token_id

    @property
    def text(self) -> str:
        """All text so far."""
        return "".join(event.text for event in self.events if isinstance(event, Tokens))


def test_tokens_are_reported_until_the_model_ends() -> None:
    """The end token is not delivered."""
    started = Started()
    for token_id in (*b"hi", END):
        started.feed(token_id)
    assert started.job.ended
    started.conclude()
    assert started.events[0] == Tokens(ids=(ord("h"),), text="h")
    assert started.events[-1] == Finished(reason="stop", prompt_tokens=2, output_tokens=2)


def test_the_end_is_told_when_everything_is_free() -> None:
    """Not by the thread that runs the model: the job's row would still be taken when its client sends the next one."""
    started = Started(max_tokens=1)
    started.feed(ord("a"))
    assert (started.job.ended, [type(event) for event in started.events]) == (True, [Tokens])
    started.conclude()
    assert [type(event) for event in started.events] == [Tokens, Finished]


def test_the_last_token_ends_the_job() -> None:
    """max_tokens counts what this job delivers."""
    started = Started(max_tokens=2, resume_ids=tuple(b"abc"), text_offset=3)
    started.job.replay()
    started.feed(ord("d"))
    assert not started.job.ended
    started.feed(ord("e"))
    started.conclude()
    assert started.text == "de"
    assert started.events[-1] == Finished(reason="length", prompt_tokens=2, output_tokens=2)


def test_a_stop_text_ends_the_job_in_the_middle() -> None:
    """What was held back for it is cut off, and nothing follows."""
    started = Started(stop=("xy",))
    for token_id in b"axy":
        started.feed(token_id)
    started.conclude()
    assert started.text == "a"
    assert started.events[-1] == Finished(reason="stop", prompt_tokens=2, output_tokens=3)


def test_text_held_back_is_released_at_the_end() -> None:
    """It was no stop text after all."""
    started = Started(stop=("xy",))
    for token_id in (*b"ax", END):
        started.feed(token_id)
    assert started.text == "ax"


def test_replayed_tokens_can_end_the_job() -> None:
    """The stop text came before the cut; the client has not seen the text before it."""
    started = Started(stop=("b",), resume_ids=tuple(b"ab"), text_offset=0)
    started.job.replay()
    started.conclude()
    assert started.text == "a"
    assert started.events[-1] == Finished(reason="stop", prompt_tokens=2, output_tokens=0)


def test_a_cancelled_job_says_so_once() -> None:
    """Text that was held back is not released any more."""
    started = Started(stop=("xy",))
    started.feed(ord("x"))
    assert not started.job.end_if_cancelled()
    started.cancelled.set()
    assert started.job.end_if_cancelled()
    assert started.job.end_if_cancelled()
    started.conclude()
    assert started.text == ""
    assert [type(event) for event in started.events].count(Finished) == 1


def test_a_failure_reaches_who_waits() -> None:
    """The first end counts."""
    started = Started()
    started.job.fail(BackendFailed("out of memory"))
    started.job.fail(BackendFailed("later"))
    with pytest.raises(BackendFailed, match="out of memory"):
        started.conclude()
    assert started.events == []
