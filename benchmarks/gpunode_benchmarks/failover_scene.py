"""One answer whose node is killed in the middle of it, as its caller sees it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from gpunode import AnswerInterrupted, ChatResult, InferenceClient
from gpunode.streaming import ChatStream
from gpunode.types import Message

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.failover_cuts import Arrival, Cut
from gpunode_benchmarks.failover_network import MODEL, FailoverNetwork

PROMPTS: Final = (
    "Tell me a long story about a fox.",
    "Explain how rain comes about.",
    "Describe a baker's day from morning to night.",
)
MAX_TOKENS: Final = 100
LATEST_CUT: Final = 0.75
"""Share of an answer after which its node is killed at the latest: one that has finished cannot be cut."""
_FEWEST_TOKENS: Final = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. expected: the tokens of an answer that nobody cut, ttft_ms: until its first one came."""

    prompt: str
    expected: tuple[int, ...]
    ttft_ms: float


def ask_uncut(client: InferenceClient, prompts: Sequence[str] = PROMPTS) -> tuple[Question, ...]:
    """Ask each prompt once.

    Raises:
        BenchmarkFailed: an answer is too short to be cut.
        ClientError: a prompt got no answer.
    """
    questions = []
    for prompt in prompts:
        result = _chat(client, prompt)
        questions.append(Question(prompt, result.ids, result.ttft_ms))
    for question in questions:
        if len(question.expected) < _FEWEST_TOKENS:
            raise BenchmarkFailed(f"The answer to {question.prompt!r} is too short to be cut.")
    return tuple(questions)


def ask_and_cut(network: FailoverNetwork, question: Question, random: Random) -> Cut:
    """Ask, kill the node that answers after a random number of tokens, and read on to the end.

    Raises:
        ClientError: nobody answered at all.
    """
    tokens = random.randint(1, int(LATEST_CUT * len(question.expected)))
    arrivals: list[Arrival] = []
    before = 0
    with _stream(network.client, question.prompt) as chunks:
        try:
            for chunk in chunks:
                arrivals.append(Arrival(time.monotonic(), chunk.ids))
                tokens -= len(chunk.ids)
                if tokens <= 0 and not before and chunks.route is not None:
                    before = len(arrivals)
                    network.kill(chunks.route.node)
        except AnswerInterrupted as error:
            _log.warning("an answer was interrupted: %s", error, extra={"event": "answer_interrupted"})
            return _interrupted(question, arrivals, before, error)
        result = chunks.result
    voucher = result.receipt.voucher.body
    return Cut(
        job=result.job,
        expected=question.expected,
        arrivals=tuple(arrivals),
        before=before,
        ids=result.ids,
        vouched=voucher.start + voucher.count,
        parts=result.route.segments,
    )


def _interrupted(question: Question, arrivals: Sequence[Arrival], before: int, error: AnswerInterrupted) -> Cut:
    return Cut(
        job=error.job,
        expected=question.expected,
        arrivals=tuple(arrivals),
        before=before,
        ids=error.ids,
        vouched=sum(part.output_units for part in error.route.segments),
        parts=error.route.segments,
        is_whole=False,
    )


def _messages(prompt: str) -> list[Message]:
    return [{"role": "user", "content": prompt}]


def _chat(client: InferenceClient, prompt: str) -> ChatResult:
    return client.chat(messages=_messages(prompt), model=MODEL, temperature=0, max_tokens=MAX_TOKENS)


def _stream(client: InferenceClient, prompt: str) -> ChatStream:
    return client.chat(messages=_messages(prompt), model=MODEL, temperature=0, max_tokens=MAX_TOKENS, stream=True)
