"""Schemas before a job, answers after it."""

import pytest
from gpunode_engines.answer_schema import check_answer, read_answer_schema, read_schema
from gpunode_engines.errors import InvalidParameters, SchemaNotHeld
from gpunode_protocol import schema_check

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def test_a_schema_is_read() -> None:
    """It is a JSON value."""
    assert read_schema('{"type": "integer"}') == {"type": "integer"}


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"type": "nonsense"}', "3", r'{"enum": ["\ud83d"]}'])
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


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon."""
    monkeypatch.setattr(schema_check, "_MOST_STEPS", 1_000)


@pytest.mark.usefixtures("hasty")
def test_a_check_without_end_fails_the_job() -> None:
    """The caller learns that its schema is the reason."""
    with pytest.raises(SchemaNotHeld, match="takes too long to check"):
        check_answer("[" * 60 + "]" * 60, {"items": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}})


def test_patterns_of_names_are_refused_by_name() -> None:
    """No engine holds a model to them, and they cannot be given up."""
    with pytest.raises(InvalidParameters, match="patternProperties"):
        read_answer_schema('{"prefixItems": [{"type": "object", "patternProperties": {"^x": {}}}]}')
