"""Parameters of each task, their limits and what they can cost."""

from typing import Any

import pytest
from gpunode_protocol.errors import ErrorCode, JobError, MalformedMessage
from gpunode_protocol.payloads import (
    BlobRef,
    ChatMessage,
    EmbeddingParams,
    ImageParams,
    LlmParams,
    SpeechParams,
    Usage,
    input_refs,
    input_tokens_bound,
    read_params,
    worst_case_output_units,
)
from gpunode_protocol.tasks import Task

from tests.protocol.samples import chat_params, embedding_params, image_params, speech_params

REF = BlobRef(id=1, size_bytes=9, digest=b"\x01" * 32, media_type="image/png")
MASK = BlobRef(id=2, size_bytes=9, digest=b"\x02" * 32, media_type="image/png")


@pytest.mark.parametrize(
    ("task", "params"),
    [
        (Task.LLM, chat_params(seed=7, stop=("a", "b"), logprobs=3, tools="[]", now=1)),
        (Task.IMAGE_GEN, image_params(mode="inpaint", image=REF, mask=MASK)),
        (Task.WHISPER, speech_params(language="de", word_timestamps=True)),
        (Task.EMBEDDING, embedding_params()),
    ],
)
def test_round_trip(task: Task, params: Any) -> None:
    """Parameters are read as they were written, by the model of their task."""
    assert read_params(task, params.to_map()) == params


def test_unknown_parameter_is_ignored() -> None:
    """A later version may add parameters."""
    assert read_params(Task.LLM, {**chat_params().to_map(), "zeta": 1}) == chat_params()


@pytest.mark.parametrize(
    ("task", "change"),
    [
        (Task.LLM, {"max_tokens": 0}),
        (Task.LLM, {"max_tokens": 1_000_001}),
        (Task.LLM, {"max_tokens": True}),
        (Task.LLM, {"max_tokens": "1"}),
        (Task.LLM, {"messages": ()}),
        (Task.LLM, {"messages": ({"role": "user"},) * 4_097}),
        (Task.LLM, {"messages": ({"role": "owner", "content": "x"},)}),
        (Task.LLM, {"messages": ({"role": "user", "content": "x" * 1_000_001},)}),
        (Task.LLM, {"temperature_millionths": 2_000_001}),
        (Task.LLM, {"temperature_millionths": -1}),
        (Task.LLM, {"top_p_millionths": 0}),
        (Task.LLM, {"presence_penalty_millionths": -2_000_001}),
        (Task.LLM, {"seed": 2**32}),
        (Task.LLM, {"stop": ("",)}),
        (Task.LLM, {"stop": ("x",) * 17}),
        (Task.LLM, {"logprobs": 21}),
        (Task.IMAGE_GEN, {"width": 65}),
        (Task.IMAGE_GEN, {"width": 8_200}),
        (Task.IMAGE_GEN, {"steps": 0}),
        (Task.IMAGE_GEN, {"n": 17}),
        (Task.IMAGE_GEN, {"format": "gif"}),
        (Task.IMAGE_GEN, {"mode": "image"}),
        (Task.IMAGE_GEN, {"mode": "text", "image": REF.to_map()}),
        (Task.IMAGE_GEN, {"mode": "inpaint", "image": REF.to_map()}),
        (Task.IMAGE_GEN, {"mode": "image", "image": REF.to_map(), "mask": MASK.to_map()}),
        (Task.IMAGE_GEN, {"mode": "inpaint", "image": REF.to_map(), "mask": REF.to_map()}),
        (Task.WHISPER, {"max_audio_ms": 0}),
        (Task.WHISPER, {"max_audio_ms": 36_000_001}),
        (Task.WHISPER, {"audio": {"id": 0}}),
        (Task.WHISPER, {"language": "x"}),
        (Task.EMBEDDING, {"inputs": ()}),
        (Task.EMBEDDING, {"inputs": ("x",) * 2_049}),
    ],
    ids=str,
)
def test_limits(task: Task, change: dict[str, Any]) -> None:
    """A parameter out of range is refused with a message that names it and not what was in it."""
    valid = {
        Task.LLM: chat_params(),
        Task.IMAGE_GEN: image_params(),
        Task.WHISPER: speech_params(),
        Task.EMBEDDING: embedding_params(),
    }[task]
    with pytest.raises(JobError) as caught:
        read_params(task, {**valid.to_map(), **change})
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
    assert not caught.value.retryable
    assert caught.value.message.startswith("Correct the parameters: ")
    assert "xxx" not in caught.value.message


@pytest.mark.parametrize("value", [None, 1, (), "text", {}])
def test_no_parameters_at_all(value: object) -> None:
    """Something that is not a map of parameters is refused alike."""
    with pytest.raises(JobError):
        read_params(Task.LLM, value)


def test_worst_case() -> None:
    """A job never costs more output than its request allows."""
    assert worst_case_output_units(chat_params(max_tokens=99)) == 99
    assert worst_case_output_units(image_params(width=512, height=512, steps=20, n=3)) == 3 * 5_120
    assert worst_case_output_units(speech_params(max_audio_ms=4_600)) == 4_600
    assert worst_case_output_units(embedding_params()) == 0


def test_image_units_round_up() -> None:
    """A picture of a few pixel-steps costs one unit."""
    assert image_params(width=8, height=8, steps=1).units_per_image() == 1
    assert image_params(width=32, height=32, steps=1).units_per_image() == 1
    assert image_params(width=32, height=40, steps=1).units_per_image() == 2


def test_prompt_bound_counts_bytes() -> None:
    """A prompt has at most one token a byte, with room for the template."""
    short = chat_params(messages=(ChatMessage(role="user", content="é" * 10),))
    longer = chat_params(messages=(ChatMessage(role="user", content="é" * 11),))
    assert input_tokens_bound(short) == 20 + 512 + 32
    assert input_tokens_bound(longer) - input_tokens_bound(short) == 2


def test_prompt_bound_counts_everything_that_templates_print() -> None:
    """Names, tool calls, tools and schemas become prompt, too."""
    plain = input_tokens_bound(chat_params())
    message = ChatMessage(role="tool", content="", name="n" * 3, tool_calls="c" * 5, tool_call_id="i" * 7)
    assert input_tokens_bound(chat_params(messages=(message,))) == 15 + 512 + 32
    assert input_tokens_bound(chat_params(tools="t" * 11, json_schema="s" * 13)) == plain + 48


def test_prompt_bound_of_other_tasks() -> None:
    """Embeddings have prompts, pictures and speech have none that is billed."""
    assert input_tokens_bound(EmbeddingParams(inputs=("one", "three"))) == 8 + 2 * 32
    assert input_tokens_bound(image_params()) == 0
    assert input_tokens_bound(speech_params()) == 0


def test_input_refs() -> None:
    """The inputs that follow in blob frames."""
    assert input_refs(chat_params()) == input_refs(embedding_params()) == ()
    assert input_refs(image_params()) == ()
    assert input_refs(image_params(mode="image", image=REF)) == (REF,)
    assert input_refs(image_params(mode="inpaint", image=REF, mask=MASK)) == (REF, MASK)
    assert input_refs(speech_params()) == (speech_params().audio,)


def test_models_of_the_tasks() -> None:
    """The four models are what their tasks read."""
    assert isinstance(read_params(Task.LLM, chat_params().to_map()), LlmParams)
    assert isinstance(read_params(Task.IMAGE_GEN, image_params().to_map()), ImageParams)
    assert isinstance(read_params(Task.WHISPER, speech_params().to_map()), SpeechParams)


def test_usage_is_never_negative() -> None:
    """Nothing is ever given back in a usage."""
    with pytest.raises(MalformedMessage):
        Usage.from_map({"output_tokens": -1})
