"""Arrays of held answers."""

from typing import Any

import pytest
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.schema_items import within_reach


@pytest.mark.parametrize("least", [10**9, 1e9, 801])
def test_more_items_than_tokens_are_refused(least: float) -> None:
    """However deep they are asked for."""
    schema = {"properties": {"a": {"anyOf": [{"type": "array", "minItems": least}]}}}
    with pytest.raises(InvalidParameters, match=rf"asks for {least:.0f} items .* max_tokens \(100\)"):
        within_reach(schema, 100)


@pytest.mark.parametrize(("most", "max_tokens"), [(801, 100), (10_001, 100_000), (1e9, 100)])
def test_bounds_that_no_answer_reaches_are_not_held(most: float, max_tokens: int) -> None:
    """The schema itself stays as it was: the answer is checked against it."""
    schema = {"items": {"type": "array", "maxItems": most, "minItems": 1}}
    assert within_reach(schema, max_tokens) == {"items": {"type": "array", "minItems": 1}}
    assert schema["items"]["maxItems"] == most


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 800, "maxItems": 800},
        {"properties": {"minItems": {"type": "integer"}, "maxItems": True}},
        {"const": {"minItems": 10**9, "maxItems": 10**9}},
        {"enum": [{"maxItems": 10**9}]},
        True,
    ],
)
def test_others_are_held_as_they_are(schema: Any) -> None:
    """Also where a property or a value only looks like the keyword."""
    assert within_reach(schema, 100) == schema
