"""Parameters of queued jobs: JSON in, what is signed out."""

import base64
import json
from typing import Any

import pytest
from gpunode_protocol import job_params
from gpunode_protocol.blobs import Blob
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.job_params import (
    JOB_PARAMS_OF,
    ImageJobParams,
    JobOrder,
    LlmJobParams,
    SpeechJobParams,
    read_job_params,
)
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.payloads import (
    EmbeddingParams,
    ImageParams,
    LlmParams,
    SpeechParams,
    input_refs,
    worst_case_output_units,
)
from gpunode_protocol.tasks import Task

from tests.protocol.samples import NOW, SALT

PNG = b"\x89PNG and more"
HELLO = [{"role": "user", "content": "hi"}]
CALLS = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}


def encoded(data: bytes) -> str:
    """Return a file as it stands in JSON."""
    return base64.b64encode(data).decode()


def order_of(task: Task, **value: Any) -> JobOrder:
    """Return what is asked for; the value goes through JSON as a client's does."""
    params = read_job_params(task, json.loads(json.dumps(value)))
    order = params.to_order(SALT, NOW)
    params.check()
    return order


def llm(**value: Any) -> LlmParams:
    """Return a chat's signed parameters."""
    params = order_of(Task.LLM, messages=HELLO, **value).params
    assert isinstance(params, LlmParams)
    return params


def image(**value: Any) -> ImageParams:
    """Return an image's signed parameters."""
    params = order_of(Task.IMAGE_GEN, prompt="a seven", **value).params
    assert isinstance(params, ImageParams)
    return params


def refusal(task: Task, **value: Any) -> str:
    """Return why parameters are refused."""
    with pytest.raises(JobError) as caught:
        order_of(task, **value)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
    return caught.value.message


def test_every_task_has_its_parameters() -> None:
    """Whatever the wire knows can be queued."""
    assert set(JOB_PARAMS_OF) == set(Task)


def test_a_chat_with_nothing_but_messages() -> None:
    """The plan's request; the date is there for templates that print it."""
    params = llm()
    assert (params.max_tokens, params.temperature_millionths, params.now) == (512, 1_000_000, NOW)


def test_fractions_become_millionths() -> None:
    """Whole numbers are fractions too."""
    params = llm(
        temperature=0.7,
        top_p=1,
        min_p=0.05,
        repetition_penalty=1.1,
        presence_penalty=-2,
        frequency_penalty=0.25,
        top_k=40,
        seed=7,
    )
    assert params.temperature_millionths == 700_000
    assert (params.top_p_millionths, params.min_p_millionths) == (1_000_000, 50_000)
    assert params.repetition_penalty_millionths == 1_100_000
    assert (params.presence_penalty_millionths, params.frequency_penalty_millionths) == (-2_000_000, 250_000)


def test_a_number_that_must_not_become_nothing() -> None:
    """A top_p below a millionth is a millionth: 0 is not allowed on the wire."""
    assert llm(top_p=1e-9).top_p_millionths == 1


def test_one_text_or_several() -> None:
    """Stops and inputs take both."""
    assert llm(stop="END").stop == ("END",)
    assert llm(stop=["a", "b"]).stop == ("a", "b")
    single = order_of(Task.EMBEDDING, input="one").params
    assert single == order_of(Task.EMBEDDING, input=["one"], normalize=True).params
    assert isinstance(single, EmbeddingParams)


def test_null_counts_as_left_out() -> None:
    """Clients that fill in what they do not know."""
    assert llm(max_tokens=None, seed=None, tools=None) == llm()


def test_structure_travels_as_json_text() -> None:
    """Schema, tools, choice, and calls in messages."""
    tools = [{"type": "function", "function": {"name": "weather"}}]
    talk = [*HELLO, {"role": "assistant", "content": None, "tool_calls": CALLS}, {"role": "tool", "tool_call_id": "1"}]
    params = order_of(Task.LLM, messages=talk, tools=tools, tool_choice="auto", json_schema=SCHEMA).params
    assert isinstance(params, LlmParams)
    assert (json.loads(params.tools or ""), json.loads(params.tool_choice or "")) == (tools, "auto")
    assert json.loads(params.json_schema or "") == SCHEMA
    assert (params.messages[1].content, json.loads(params.messages[1].tool_calls or "")) == ("", CALLS)
    assert params.messages[2].tool_call_id == "1"


def test_sizes_in_both_ways_of_writing() -> None:
    """The plan writes ``1024x1024``."""
    assert (image(size="1024x768").width, image(size="1024x768").height) == (1024, 768)
    assert image(width=64, height=32, steps=4, guidance=3).height == 32
    assert (image().width, image().height, image().steps, image().guidance_millionths) == (512, 512, 30, 7_500_000)


def test_a_models_defaults_fill_only_what_is_left_out() -> None:
    """What is drawn must be known before it is priced."""
    defaults: dict[str, Any] = {"width": 32, "height": 16, "steps": 20, "guidance": 3.0}
    plain = ImageJobParams(prompt="a seven").with_defaults(**defaults).to_order(SALT, NOW).params
    assert plain == image(width=32, height=16, steps=20, guidance=3.0)
    given = read_job_params(Task.IMAGE_GEN, {"prompt": "a seven", "size": "64x64", "steps": 4, "guidance": 0})
    assert isinstance(given, ImageJobParams)
    assert given.with_defaults(**defaults) == given


@pytest.mark.parametrize(
    ("files", "mode", "strength"),
    [((), "text", 1_000_000), (("image",), "image", 750_000), (("image", "mask"), "inpaint", 1_000_000)],
)
def test_files_decide_the_mode_of_an_image(files: tuple[str, ...], mode: str, strength: int) -> None:
    """Each travels as a blob whose digest is signed."""
    order = order_of(Task.IMAGE_GEN, prompt="x", size="64x64", **dict.fromkeys(files, encoded(PNG)))
    params = order.params
    assert isinstance(params, ImageParams)
    assert (params.mode, params.strength_millionths, len(order.inputs)) == (mode, strength, len(files))
    for ref, blob in zip(input_refs(params), order.inputs, strict=True):
        assert (ref.id, ref.size_bytes, ref.media_type) == (blob.id, len(PNG), "image/png")
        assert ref.digest == blob_digest(SALT, PNG)


def test_speech() -> None:
    """The file is a blob; an hour is paid for at most unless something else is said."""
    order = order_of(Task.WHISPER, audio=encoded(b"sound"), media_type="audio/wav", language="de", temperature=0.5)
    params = order.params
    assert isinstance(params, SpeechParams)
    assert order.inputs == (Blob(id=0, media_type="audio/wav", data=b"sound"),)
    assert (params.max_audio_ms, params.language, params.temperature_millionths) == (3_600_000, "de", 500_000)
    assert worst_case_output_units(order_of(Task.WHISPER, audio=encoded(b"s"), max_minutes=0.5).params) == 30_000


@pytest.mark.parametrize(
    ("task", "change", "named"),
    [
        (Task.LLM, {"messages": []}, "messages: must have at least 1"),
        (Task.LLM, {"messages": "hi"}, "messages: must be a list"),
        (Task.LLM, {"messages": [{"role": "owner"}]}, "messages.0.role"),
        (Task.LLM, {"messages": [{"role": "user", "content": 7}]}, "messages.0.content: must be text"),
        (Task.LLM, {"messages": [{"role": "user", "mood": "good"}]}, "no parameter 'messages.0.mood'"),
        (Task.LLM, {"max_tokens": 0}, "max_tokens: must be at least 1"),
        (Task.LLM, {"max_tokens": 1_000_001}, "max_tokens: must be at most 1,000,000"),
        (Task.LLM, {"max_tokens": 7.5}, "max_tokens: must be a whole number"),
        (Task.LLM, {"max_tokens": "7"}, "max_tokens: must be a whole number"),
        (Task.LLM, {"temperature": 2.1}, "temperature: must be at most 2"),
        (Task.LLM, {"temperature": True}, "temperature: must be a number"),
        (Task.LLM, {"temperature": float("nan")}, "temperature"),
        (Task.LLM, {"temperature": float("inf")}, "temperature"),
        (Task.LLM, {"top_p": 0}, "top_p: must be more than 0"),
        (Task.LLM, {"repetition_penalty": 0}, "repetition_penalty: must be more than 0"),
        (Task.LLM, {"presence_penalty": -2.5}, "presence_penalty: must be at least -2"),
        (Task.LLM, {"seed": 2**32}, "seed: must be at most"),
        (Task.LLM, {"stop": ["x"] * 17}, "stop: must have at most 16"),
        (Task.LLM, {"stop": ""}, "stop.0: must have at least 1"),
        (Task.LLM, {"tools": []}, "tools: must have at least 1"),
        (Task.LLM, {"tools": [{"description": "x" * 400_000}]}, "tools: must have at most 400,000"),
        (Task.LLM, {"json_schema": {"type": "nonsense"}}, "json_schema: is not a JSON schema"),
        (Task.LLM, {"json_schema": {"allOf": [{}] * 2_000}}, "json_schema: has more than 2,000 schemas"),
        (
            Task.LLM,
            {"json_schema": {"type": "nonsense", "title": "x" * 100_000}},
            "json_schema: must have at most",
        ),
        (Task.LLM, {"json_schema": {"const": float("nan")}}, "json_schema: cannot be written as JSON"),
        (Task.LLM, {"messages": [{"role": "user", "content": "x" * 600_000}] * 2}, "about 1 MiB can be sent"),
        (Task.LLM, {"modle": "x"}, "no parameter 'modle'; it has messages, max_tokens"),
        (Task.IMAGE_GEN, {"size": "big"}, "size: must be written like 1024x768"),
        (Task.IMAGE_GEN, {"size": "63x64"}, "width: must be a multiple of 8"),
        (Task.IMAGE_GEN, {"size": "64x64", "width": 64, "height": 64}, "not both"),
        (Task.IMAGE_GEN, {"width": 64}, "give width and height"),
        (Task.IMAGE_GEN, {"mask": encoded(PNG)}, "a mask needs an image"),
        (Task.IMAGE_GEN, {"strength": 0.5}, "strength needs an image"),
        (Task.IMAGE_GEN, {"image": encoded(PNG), "strength": 0}, "strength: must be more than 0"),
        (Task.IMAGE_GEN, {"image": encoded(b"plain text")}, "image: is no PNG, JPEG or WebP"),
        (Task.IMAGE_GEN, {"n": 17}, "n: must be at most 16"),
        (Task.WHISPER, {"audio": "###"}, "audio: is not valid base64"),
        (Task.WHISPER, {"audio": 7}, "audio: must be text"),
        (Task.WHISPER, {"audio": ""}, "audio"),
        (Task.WHISPER, {"media_type": "audio/wav\r\nX: y"}, "media_type"),
        (Task.WHISPER, {"max_minutes": 241}, "max_minutes: must be at most 240"),
        (Task.EMBEDDING, {"input": []}, "input: must have at least 1"),
        (Task.EMBEDDING, {"input": ["x", 4]}, "input.1: must be text"),
        (Task.EMBEDDING, {"input": ["x"] * 2_049}, "input: must have at most 2,048"),
    ],
)
def test_what_is_wrong_is_named(task: Task, change: dict[str, Any], named: str) -> None:
    """Each message names the parameter and its limit."""
    plain: dict[Task, dict[str, Any]] = {
        Task.LLM: {"messages": HELLO},
        Task.IMAGE_GEN: {"prompt": "x"},
        Task.WHISPER: {"audio": encoded(b"sound")},
        Task.EMBEDDING: {},
    }
    assert named in refusal(task, **plain[task] | change)


@pytest.mark.parametrize("value", [None, [], "x", 7])
def test_parameters_are_an_object(value: Any) -> None:
    """Nothing else is."""
    with pytest.raises(JobError, match="must be an object"):
        read_job_params(Task.LLM, value)


def test_what_is_missing_is_named() -> None:
    """Of each task the one parameter without a default."""
    assert "messages: is missing" in refusal(Task.LLM)
    assert "prompt: is missing" in refusal(Task.IMAGE_GEN)
    assert "audio: is missing" in refusal(Task.WHISPER)
    assert "input: is missing" in refusal(Task.EMBEDDING)


def test_secrets_of_a_file_are_not_repeated() -> None:
    """A problem names the parameter, never its value."""
    assert "c2VjcmV0" not in refusal(Task.WHISPER, audio="c2VjcmV0!")


def test_text_of_any_kind_is_text() -> None:
    """Control characters and all of Unicode pass unchanged: a prompt is the client's business."""
    text = "\x00\x1b[31m\u202e\U0001f600"
    params = order_of(Task.LLM, messages=[{"role": "user", "content": text}]).params
    assert isinstance(params, LlmParams)
    assert params.messages[0].content == text


def test_models_can_be_made_from_code() -> None:
    """Without JSON in between."""
    assert LlmJobParams.model_validate({"messages": HELLO}).messages[0].content == "hi"
    assert SpeechJobParams.model_validate({"audio": encoded(b"x")}).audio == b"x"


def test_a_schema_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the job is handed in: it may take half a second, and an order is made for each attempt."""
    monkeypatch.setattr(job_params, "schema_problem", None)
    params = read_job_params(Task.LLM, {"messages": HELLO, "json_schema": SCHEMA})
    assert isinstance(params.to_order(SALT, NOW).params, LlmParams)
