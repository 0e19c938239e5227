"""Events of answers that are more than text."""

import json

import pytest
from gpunode_engines.base import Event, Finished, FinishReason, GenerateRequest, Tokens
from gpunode_engines.errors import BackendFailed
from gpunode_engines.structured_answer import constraint_of, structured
from gpunode_engines.tool_calls import CALLS_MARK

TOOLS = json.dumps([{"type": "function", "function": {"name": "weather"}}])
CALL = '{"name": "weather", "arguments": {}}'


def request(**fields: str) -> GenerateRequest:
    """Return a request."""
    return GenerateRequest(job_key="job", prompt_ids=(1,), max_tokens=9, **fields)  # type: ignore[arg-type]  # -- texts only


def run(job: GenerateRequest, *texts: str, reason: FinishReason = "stop") -> list[Event]:
    """Return what comes out of an answer in these pieces."""
    events: list[Event] = []
    emit = structured(job, events.append)
    for number, text in enumerate(texts):
        emit(Tokens(ids=(number,), text=text))
    emit(Finished(reason=reason, prompt_tokens=1, output_tokens=len(texts)))
    return events


def text_of(events: list[Event]) -> str:
    """Return the text of all events."""
    return "".join(event.text for event in events if isinstance(event, Tokens))


def test_plain_answers_pass_untouched() -> None:
    """They cost nothing."""
    events: list[Event] = []
    emit = events.append
    assert structured(request(), emit) is emit


def test_an_answer_after_a_schema_passes() -> None:
    """It streams as it comes."""
    events = run(request(json_schema='{"type": "integer"}'), "1", "2")
    assert text_of(events) == "12"


def test_an_answer_against_its_schema_fails_the_job() -> None:
    """Instead of ending it."""
    with pytest.raises(BackendFailed, match="json_schema"):
        run(request(json_schema='{"type": "integer"}'), "no")


def test_an_answer_that_was_cut_off_is_not_checked() -> None:
    """The finish reason says that it is not whole."""
    assert isinstance(run(request(json_schema='{"type": "integer"}'), "-", reason="length")[-1], Finished)


def test_calls_come_at_the_end() -> None:
    """Every id is delivered, and the reason says that there are calls."""
    events = run(request(tools=TOOLS), CALL[:9], CALL[9:])
    assert [event.ids for event in events if isinstance(event, Tokens)] == [(0,), (1,), ()]
    assert text_of(events).startswith(CALLS_MARK)
    assert json.loads(text_of(events)[1:])[0]["function"] == {"name": "weather", "arguments": "{}"}
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].output_tokens) == ("tool_calls", 2)


def test_a_call_that_was_cut_off_is_text() -> None:
    """Its arguments may not be whole."""
    events = run(request(tools=TOOLS), CALL, reason="length")
    assert text_of(events) == CALL
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"


def test_forced_calls_and_schemas_constrain() -> None:
    """Nothing else does."""
    assert constraint_of(request()) is None
    assert constraint_of(request(tools=TOOLS)) is None
    assert constraint_of(request(json_schema='{"type": "integer"}')) == {"type": "integer"}
    forced = constraint_of(request(tools=TOOLS, tool_choice='"required"'))
    assert forced is not None
    assert forced["properties"]["name"] == {"const": "weather"}
