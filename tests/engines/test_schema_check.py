"""Values and schemas of strangers."""

from typing import Any

import pytest
from gpunode_engines import schema_check
from gpunode_engines.schema_check import CheckTooLong, follows


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
    ],
    ids=["parts named twice", "under another draft's name", "a value as deep as it likes", "a pattern"],
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
