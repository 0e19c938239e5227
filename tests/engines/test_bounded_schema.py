"""Schemas that would take for ever."""

from typing import Any

import pytest
from gpunode_engines.bounded_schema import TooManySteps, follows

SLOW = "^(a+)+$"
NAME = "a" * 40 + "!"  # tried against the pattern above, it takes hours


@pytest.mark.parametrize(
    ("instance", "schema"),
    [
        (NAME, {"pattern": SLOW}),
        ({NAME: 1}, {"patternProperties": {SLOW: {}}}),
        ({NAME: 1}, {"patternProperties": {SLOW: {}}, "additionalProperties": False}),
        ({NAME: 1}, {"propertyNames": {"pattern": SLOW}}),
        ({NAME: 1}, {"allOf": [{"patternProperties": {SLOW: {}}}], "unevaluatedProperties": False}),
        ([NAME], {"items": {"not": {"not": {"pattern": SLOW}}}}),
    ],
)
def test_patterns_are_not_looked_at(instance: Any, schema: Any) -> None:
    """The client that wrote them looks at them."""
    assert follows(instance, schema)


@pytest.mark.parametrize(("keyword", "end"), [("allOf", "integer"), ("anyOf", "string"), ("oneOf", "string")])
def test_references_that_double(keyword: str, end: str) -> None:
    """Forty of them would be walked through a million million times."""
    chain = {f"s{n}": {keyword: [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(40)}
    with pytest.raises(TooManySteps):
        follows(1, {"$ref": "#/$defs/s0", "$defs": {**chain, "s40": {"type": end}}}, max_steps=1_000)


def test_everything_else_is_judged() -> None:
    """As the draft says, in nested values and through references too."""
    schema = {
        "type": "object",
        "properties": {"people": {"type": "array", "items": {"$ref": "#/$defs/person"}}},
        "additionalProperties": False,
        "$defs": {"person": {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}},
    }
    assert follows({"people": [{"age": 7}, {"age": 8}]}, schema)
    assert not follows({"people": [{"age": 7}, {"age": "8"}]}, schema)
    assert not follows({"people": [{}]}, schema)
    assert not follows({"people": [], "more": 1}, schema)


def test_a_long_answer() -> None:
    """Thousands of values are well within the steps."""
    schema = {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}
    assert follows([{"a": number} for number in range(5_000)], schema)
