"""The parts of a schema."""

from gpunode_protocol.schema_parts import count_parts, parts_of


def test_all_schemas_are_found() -> None:
    """Below keywords, in lists, and under names that look like keywords."""
    schema = {"$defs": {"const": {"a": 1}}, "anyOf": [{"b": 1}, True], "items": {"not": {"c": 1}}}
    found = [part for part in parts_of(schema) if part.keys() & set("abc")]
    assert sorted(found, key=str) == [{"a": 1}, {"b": 1}, {"c": 1}]


def test_data_are_no_schemas() -> None:
    """They stay what they are."""
    assert list(parts_of({"const": {"x": 1}, "enum": [{"y": 1}], "default": {}, "examples": [{}]})) == [
        {"const": {"x": 1}, "enum": [{"y": 1}], "default": {}, "examples": [{}]}
    ]


def test_depth_does_not_matter() -> None:
    """A stranger's schema may be as deep as JSON can be read."""
    schema: dict[str, object] = {}
    for _ in range(100_000):
        schema = {"not": schema}
    assert sum(1 for _ in parts_of(schema)) == 100_001
    while schema:  # taken apart: Python's own destructor goes as deep
        schema = schema["not"]  # type: ignore[assignment]  # -- it was built so


def test_parts_are_counted() -> None:
    """With those of one word."""
    assert count_parts({"allOf": [{}, True], "properties": {"a": False, "b": {"enum": [{}, {}]}}}) == 5
