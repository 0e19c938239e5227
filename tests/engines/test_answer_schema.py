"""Schemas before a job, answers after it."""

import pytest
from gpunode_engines.answer_schema import check_answer, read_schema
from gpunode_engines.errors import InvalidParameters, SchemaNotHeld

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def test_a_schema_is_read() -> None:
    """It is a JSON value."""
    assert read_schema('{"type": "integer"}') == {"type": "integer"}


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"type": "nonsense"}', "3"])
def test_what_is_no_schema_is_refused(text: str) -> None:
    """Before anything is computed."""
    with pytest.raises(InvalidParameters, match="json_schema is not"):
        read_schema(text)


def test_an_answer_that_follows_passes() -> None:
    """Nothing is raised."""
    check_answer('{"age": 7}', SCHEMA)


@pytest.mark.parametrize("answer", ["", "seven", '{"age": "7"}', "{}", "[" * 100_000])
def test_an_answer_that_does_not_follow_fails_the_job(answer: str) -> None:
    """A caller must not take it for what was asked."""
    with pytest.raises(SchemaNotHeld, match="does not follow json_schema"):
        check_answer(answer, SCHEMA)


def test_a_reference_that_leads_nowhere_fails_the_job() -> None:
    """Nothing is fetched from anywhere."""
    with pytest.raises(SchemaNotHeld):
        check_answer("1", {"$ref": "https://schemas.example/other.json"})


def test_a_schema_that_would_take_for_ever_fails_the_job() -> None:
    """It must not keep the engine from answering everybody else."""
    chain = {f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(40)}
    with pytest.raises(SchemaNotHeld):
        check_answer("1", {"$ref": "#/$defs/s0", "$defs": {**chain, "s40": {}}})
    check_answer(f'"{"a" * 40}!"', {"pattern": "^(a+)+$"})
