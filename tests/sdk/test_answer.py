"""What the next node is asked for, by what came. Whole jobs: see ``test_job_run``."""

from typing import Any

import pytest
from gpunode._answer import Answer, begins_anew
from gpunode._job_cost import JobCost
from gpunode._job_requests import Job
from gpunode._seen_prefix import CannotGoOn
from gpunode.types import RouteSegment
from gpunode_protocol.blobs import Blob
from gpunode_protocol.messages import AcceptedFrame, SegmentFrame, TokensFrame
from gpunode_protocol.payloads import (
    BlobRef,
    ChatMessage,
    EmbeddingParams,
    ImageParams,
    LlmParams,
    Params,
    SpeechParams,
)
from gpunode_protocol.requests import MAX_RESUME_IDS
from gpunode_protocol.tasks import Task

CHAT = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=3)
AUDIO = BlobRef(id=0, media_type="audio/wav", size_bytes=1, digest=bytes(32))
ACCEPTED = AcceptedFrame(prompt_tokens=1, position=0, eta_s=0.0, fingerprint=b"f" * 32, prompt_digest=b"p" * 32)
CUT = RouteSegment("node", "asia", 1, "cut")


def _answer(params: Params, task: Task = Task.LLM) -> Answer:
    job = Job(id="x", task=task, params=params, cost=JobCost(Task.LLM), ends_at=0.0, deadline_at=0, salt=bytes(32))
    answer = Answer(job)
    answer.take(ACCEPTED)
    return answer


def test_before_the_first_token_everything_is_asked_for() -> None:
    """Of whoever comes, whatever its weights."""
    answer = _answer(CHAT)
    answer.part_over(RouteSegment("node", "asia", 0, "cut"), None)
    order = answer.next_order()
    assert (order.params, order.resume, order.fingerprint) == (CHAT, None, None)
    assert answer.parts == []


def test_text_goes_on_after_the_last_token() -> None:
    """At the byte where the text ends, with the weights and the prompt of before."""
    answer = _answer(CHAT)
    answer.take(TokensFrame(ids=(7, 8), text="é"))
    answer.part_over(CUT, None)
    order = answer.next_order()
    assert order.resume is not None
    assert (order.resume.ids, order.resume.text_offset, order.resume.prompt_digest) == ((7, 8), 2, b"p" * 32)
    assert order.params == CHAT.model_copy(update={"max_tokens": 1})
    assert (order.fingerprint, answer.fingerprint) == (b"f" * 32, b"f" * 32)


def test_after_the_last_token_there_is_nothing_to_ask_for() -> None:
    """Only the node's word is missing, and nobody else can give it."""
    answer = _answer(CHAT)
    answer.take(TokensFrame(ids=(7, 8, 9), text="abc"))
    answer.part_over(CUT, None)
    with pytest.raises(CannotGoOn, match="All tokens came"):
        answer.next_order()


@pytest.mark.parametrize("tokens", [MAX_RESUME_IDS, MAX_RESUME_IDS + 1])
def test_an_answer_that_is_too_long_cannot_be_gone_on_with(tokens: int) -> None:
    """What came of it is the caller's; nobody takes so many ids."""
    answer = _answer(CHAT.model_copy(update={"max_tokens": 1_000_000}))
    answer.take(TokensFrame(ids=(7,) * tokens, text=""))
    answer.part_over(CUT, None)
    if tokens > MAX_RESUME_IDS:
        with pytest.raises(CannotGoOn, match=r"200,000 tokens, it has 200,001"):
            answer.next_order()
    else:
        assert answer.next_order().resume is not None


def test_an_answer_that_does_not_fit_beside_its_prompt_cannot_be_gone_on_with() -> None:
    """Both must fit into one frame."""
    prompt = ChatMessage(role="user", content="x" * 1_000_000)
    answer = _answer(LlmParams(messages=(prompt,), max_tokens=100_000))
    answer.take(TokensFrame(ids=(70_000,) * 20_000, text=""))
    answer.part_over(CUT, None)
    with pytest.raises(CannotGoOn, match="Together with the prompt"):
        answer.next_order()


@pytest.mark.parametrize(
    ("changes", "anew"), [({}, False), ({"tools": "[]"}, True), ({"json_schema": "{}"}, True), ({"logprobs": 0}, True)]
)
def test_what_must_be_said_again(changes: dict[str, Any], *, anew: bool) -> None:
    """Tools, schemas and log-probabilities."""
    assert begins_anew(CHAT.model_copy(update=changes)) is anew


def test_a_repeated_answer_shows_only_its_rest() -> None:
    """Another one is an error, and so is a shorter one."""
    answer = _answer(CHAT.model_copy(update={"json_schema": "{}"}))
    answer.take(TokensFrame(ids=(7,), text="{"))
    answer.part_over(CUT, None)
    order = answer.next_order()
    assert (order.resume, order.params) == (None, answer.job.params)
    with pytest.raises(CannotGoOn, match="another answer"):
        answer.end()
    assert answer.take(TokensFrame(ids=(7,), text="{")) is None
    answer.end()
    new = answer.take(TokensFrame(ids=(8,), text="}"))
    assert isinstance(new, TokensFrame)
    assert (new.text, answer.text, answer.ids) == ("}", "{}", [7, 8])
    answer.next_order()
    with pytest.raises(CannotGoOn, match="another answer"):
        answer.take(TokensFrame(ids=(9,), text="["))


def test_speech_goes_on_after_the_last_segment() -> None:
    """In the language that was heard, and paid for no longer than before."""
    answer = _answer(SpeechParams(audio=AUDIO, max_audio_ms=10_000, start_ms=500), Task.WHISPER)
    answer.take(SegmentFrame(start_ms=500, end_ms=4_500, text=" Guten Tag", language="de"))
    answer.part_over(CUT, None)
    params = answer.next_order().params
    assert isinstance(params, SpeechParams)
    assert (params.start_ms, params.max_audio_ms, params.language) == (4_500, 6_000, "de")


def test_pictures_that_came_are_not_drawn_again() -> None:
    """The others get the seeds that they would have had."""
    params = ImageParams(prompt="p", width=8, height=8, steps=1, guidance_millionths=0, n=2, seed=2**32 - 1)
    answer = _answer(params, Task.IMAGE_GEN)
    answer.take(Blob(0, "image/png", b"x"))
    answer.part_over(CUT, None)
    assert answer.next_order().params == params.model_copy(update={"n": 1, "seed": 0})
    answer.take(Blob(0, "image/png", b"y"))
    with pytest.raises(CannotGoOn, match="All pictures came"):
        answer.next_order()


def test_vectors_are_asked_for_anew() -> None:
    """They come all at once."""
    answer = _answer(EmbeddingParams(inputs=("a",)), Task.EMBEDDING)
    answer.take(Blob(0, "application/octet-stream", b"x"))
    answer.part_over(CUT, None)
    assert answer.next_order().params == answer.job.params
    assert answer.blobs == []
