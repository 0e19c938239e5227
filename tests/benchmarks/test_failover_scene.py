from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from gpunode import AnswerInterrupted, Chunk
from gpunode.types import Route, RouteSegment
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.failover_scene import LATEST_CUT, MAX_TOKENS, Question, ask_and_cut, ask_uncut

EXPECTED = tuple(range(20))
QUESTION = Question("Why?", EXPECTED, 200.0)


@dataclass
class _Network:
    """A network whose answers are made up: one token a chunk; a killed node's answer goes on at ``other``.

    shorter: tokens that come, of ``EXPECTED``. breaks: nobody finishes.
    """

    shorter: int = len(EXPECTED)
    breaks: bool = False
    killed: list[tuple[str, int]] = field(default_factory=list)
    shown: int = 0

    def __enter__(self) -> "_Network":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def client(self) -> Any:
        return SimpleNamespace(chat=self._chat)

    def _chat(self, *, stream: bool = False, **options: Any) -> Any:
        assert (options["temperature"], options["max_tokens"]) == (0, MAX_TOKENS)
        return self if stream else SimpleNamespace(ids=EXPECTED[: self.shorter], ttft_ms=100.0)

    def kill(self, peer_id: str) -> None:
        self.killed.append((peer_id, self.shown))

    def __iter__(self) -> Iterator[Chunk]:
        for token in EXPECTED[: self.shorter]:
            if self.breaks and self.killed:
                raise AnswerInterrupted(
                    "It broke off.", text="", ids=EXPECTED[: self.shown], blobs=(), route=self.route, job="job"
                )
            self.shown += 1
            yield Chunk("word ", (token,))

    @property
    def route(self) -> Route:
        return Route("node", "asia", None, "direct", "dht", segments=tuple(self._parts()))

    def _parts(self) -> Sequence[RouteSegment]:
        if not self.killed:
            return [RouteSegment("node", "asia", self.shown, "done")]
        tokens = self.killed[0][1]
        parts = [RouteSegment("node", "asia", tokens, "its stream ended")]
        return parts if self.breaks else [*parts, RouteSegment("other", "asia", self.shown - tokens, "done")]

    @property
    def result(self) -> Any:
        start = self.killed[0][1] if self.killed else 0
        voucher = SimpleNamespace(body=SimpleNamespace(start=start, count=self.shown - start))
        receipt = SimpleNamespace(voucher=voucher)
        return SimpleNamespace(job="job", ids=EXPECTED[: self.shown], receipt=receipt, route=self.route)


def test_questions_know_what_an_uncut_answer_says() -> None:
    """Each prompt is asked once."""
    assert ask_uncut(_Network().client, ("a", "b")) == (Question("a", EXPECTED, 100.0), Question("b", EXPECTED, 100.0))


def test_an_answer_too_short_to_be_cut_is_named() -> None:
    """Its prompt must be changed."""
    with pytest.raises(BenchmarkFailed, match="'Why'"):
        ask_uncut(_Network(shorter=3).client, ("Why",))


def test_the_node_that_answers_is_killed_once_and_read_on() -> None:
    """After as many tokens as the dice say, within the answer's first three quarters."""
    network = _Network()
    cut = ask_and_cut(network, QUESTION, Random(1))
    assert network.killed == [("node", cut.before)]
    assert 1 <= cut.before <= LATEST_CUT * len(EXPECTED)
    assert cut.was_cut
    assert cut.is_identical
    assert (cut.vouched, [part.node for part in cut.parts]) == (20, ["node", "other"])


def test_the_same_dice_kill_at_the_same_tokens() -> None:
    """So a run can be done again."""
    first, second = ([ask_and_cut(_Network(), QUESTION, random).before for _ in range(5)] for random in _dice())
    assert first == second
    assert len(set(first)) > 1


def _dice() -> tuple[Random, Random]:
    return Random(7), Random(7)


def test_an_interrupted_answer_counts_with_what_it_has() -> None:
    """It is a failure to report, not one of the bench."""
    cut = ask_and_cut(_Network(breaks=True), QUESTION, Random(1))
    assert cut.was_cut
    assert not cut.is_whole
    assert cut.ids == cut.shown == EXPECTED[: cut.before]
    assert cut.vouched == cut.before


def test_an_answer_that_ends_before_the_kill_was_not_cut() -> None:
    """A node may say something shorter this time; nobody is killed."""
    network = _Network(shorter=1)
    cut = ask_and_cut(network, QUESTION, Random(1))
    assert network.killed == []
    assert not cut.was_cut
