"""Values and schemas of strangers."""

from typing import Any

import pytest
from gpunode_protocol import schema_check
from gpunode_protocol.schema_check import CheckTooLong, follows, mismatch, schema_problem


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon."""
    monkeypatch.setattr(schema_check, "_MOST_STEPS", 1_000)
    monkeypatch.setattr(schema_check, "_PATTERNS_S", 0.2)


def _doubling(last: dict[str, Any], depth: int = 60, **fields: str) -> dict[str, Any]:
    """Return a schema of a few lines that asks for the same 2 ** depth times."""
    parts: dict[str, Any] = {"p0": last}
    for number in range(1, depth):
        below = {"$ref": f"#/$defs/p{number - 1}"}
        parts[f"p{number}"] = fields | {"allOf": [below, below]}
    return fields | {"$defs": parts, "$ref": f"#/$defs/p{depth - 1}"}


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (7, _doubling({"type": "integer"})),
        (7, _doubling({"type": "integer"}, **{"$schema": "http://json-schema.org/draft-07/schema#"})),
        (_nested(60), {"items": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}),
        ("a" * 60 + "!", {"pattern": "^(a|a)+$"}),
        ({"a" * 60 + "!": 1}, {"patternProperties": {"^(a|a)+$": {}}}),
    ],
    ids=["parts named twice", "under another draft's name", "a value as deep as it likes", "a pattern", "of a name"],
)
def test_what_has_no_end_is_given_up(value: Any, schema: Any) -> None:
    """It would keep a slot, and at last cost the engine."""
    with pytest.raises(CheckTooLong):
        follows(value, schema)


@pytest.mark.parametrize(("value", "expected"), [("a-b-c", True), ("a--b", False), (7, True)])
def test_patterns_are_checked(value: Any, *, expected: bool) -> None:
    """Of strings only."""
    assert follows(value, {"pattern": "^[a-z]+(-[a-z]+)*$"}) is expected


def test_a_property_may_have_any_name() -> None:
    """Also that of a keyword; values stay what they are."""
    schema = {"properties": {"patternProperties": {"type": "integer"}, "$schema": {"const": {"$schema": "x"}}}}
    assert follows({"patternProperties": 7, "$schema": {"$schema": "x"}}, schema)
    assert not follows({"patternProperties": "7"}, schema)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"a": number} for number in range(20_000)], True),
        ([{"a": [1]}, {"a": [1.0]}], False),
        ([1, True, [1], [True], "1", None], True),
        ([1, 2, 1], False),
    ],
    ids=["many objects", "equal objects", "of several types", "numbers"],
)
def test_items_are_unique(items: list[Any], *, expected: bool) -> None:
    """However many: each compared with each other would take minutes."""
    assert follows(items, {"uniqueItems": True}) is expected


def test_few_steps_may_take_long_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each error repeats the value that it complains of."""
    monkeypatch.setattr(schema_check, "_LONGEST_S", 0.0)
    with pytest.raises(CheckTooLong):
        follows(7, {"anyOf": [{"type": "string"}, {"type": "integer"}]})


def test_a_mismatch_is_described() -> None:
    """In words for the caller."""
    assert mismatch(7, {"type": "string"}) == "7 is not of type 'string'"
    assert mismatch("7", {"type": "string"}) is None


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"allOf": [{}] * 2_000}, "has more than 2,000 schemas in it"),
        ({"allOf": [True] * 24_000}, "has more than 2,000 schemas in it"),
        ({"type": "nonsense"}, "is not a JSON schema: 'nonsense' is not valid under any of the given schemas"),
        ({"$ref": "#"}, None),
    ],
    ids=["objects", "words", "no schema", "a schema"],
)
def test_schemas_are_checked(schema: Any, problem: str | None) -> None:
    """The many are not looked into: 100 KB took seven seconds."""
    assert schema_problem(schema) == problem
