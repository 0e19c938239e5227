"""Bodies of requests with one field at a limit that the document names, or one step beyond it."""

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpunode_tracker.openapi.document import openapi_document
from gpunode_tracker.openapi.route import Route
from gpunode_tracker.routes import ROUTES

Schema = Mapping[str, Any]
Trail = tuple[str | int, ...]

DOCUMENT: Final = openapi_document(ROUTES)
LONGEST: Final = 200_000
"""Longer texts and lists meet the limits of bodies first, which have tests of their own."""
TASK_OF: Final = {
    "LlmJobParams": "llm",
    "ImageJobParams": "image_gen",
    "SpeechJobParams": "whisper",
    "EmbeddingJobParams": "embedding",
}
_VALID: Final[Mapping[str, dict[str, Any]]] = {
    "llm": {"messages": [{"role": "user", "content": "a"}]},
    "image_gen": {"prompt": "a"},
    "whisper": {"audio": "AAAA"},
    "embedding": {"input": "a"},
}
"""Parameters that are taken: so a refusal is for the one field."""
_NEEDED: Final[Mapping[str, dict[str, Any]]] = {"WorkerRegistration": {"region": "europe"}}
"""What a body needs beyond what its schema requires: an address of loopback tells no region."""
_FILLERS: Final = ("a", "0", "A", "A=", "é")


@dataclass(frozen=True)
class Case:
    """A body. keyword: of the limit. is_beyond: whether the field is one step beyond it. trail: where the field is."""

    trail: Trail
    keyword: str
    is_beyond: bool
    body: Any


def cases_of(route: Route) -> list[Case]:
    """Return the bodies for all limits of all fields of a route's body."""
    schema = DOCUMENT["paths"][route.path][route.method.lower()]["requestBody"]["content"]["application/json"]["schema"]
    base = _least(schema)
    return [
        Case(trail, keyword, is_beyond, _with(base, trail, value, around))
        for trail, field, around in _fields(schema, (), {})
        for keyword, is_beyond, value in _values(field)
    ]


def _resolved(schema: Schema) -> Schema:
    """Return what a reference names; of alternatives with null, the other one."""
    while True:
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif len(others := [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]) == 1:
            schema = others[0]
        else:
            return schema


def _fields(schema: Schema, trail: Trail, around: dict[Trail, Any]) -> Iterator[tuple[Trail, Schema, dict[Trail, Any]]]:
    """Yield every field with its trail, and what must stand where so that it is there."""
    schema = _resolved(schema)
    yield trail, schema, around
    if len(trail) > 8:  # a schema that holds itself
        return
    for each in schema.get("anyOf", ()):
        task = TASK_OF.get(each.get("$ref", "").rpartition("/")[2])
        least = around | {trail: _least(each)} | ({("type",): task} if task else {})
        yield from _fields(each, trail, least)
    for name, field in schema.get("properties", {}).items():
        yield from _fields(field, (*trail, name), around)
    if isinstance(items := schema.get("items"), dict):
        yield from _fields(items, (*trail, 0), around | {trail: [_least(items)] * max(1, schema.get("minItems", 1))})


def _least(schema: Schema) -> Any:
    """Return the least value that a schema takes."""
    schema = _resolved(schema)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    if "anyOf" in schema:
        return _least(schema["anyOf"][0])
    match schema.get("type"):
        case "object":
            least = {name: _least(schema["properties"][name]) for name in schema.get("required", ())}
            return least | _NEEDED.get(schema.get("title", ""), {})
        case "array":
            return [_least(schema.get("items", {}))] * schema.get("minItems", 0)
        case "string":
            length = schema.get("minLength", 0)
            texts = [text for more in range(70) if (text := _text(schema, length + more)) is not None]
            return texts[0] if texts else ""
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        case "boolean":
            return False
        case _:
            return None


def _text(schema: Schema, length: int) -> str | None:
    """Return a text of a length that fits the pattern, None if none was found."""
    pattern = schema.get("pattern", "")
    for filler in _FILLERS:
        text = (filler[0] * length)[: max(0, length - len(filler) + 1)] + filler[1:]
        if len(text) == length and re.search(pattern, text):
            return text
    return None


def _values(field: Schema) -> Iterator[tuple[str, bool, Any]]:
    """Yield values at each limit and beyond it: keyword, whether beyond, value."""
    step = 1 if field.get("type") == "integer" else 0.5
    for keyword, sign in (("minimum", -1), ("maximum", 1)):
        if keyword in field:
            yield keyword, False, field[keyword]
            yield keyword, True, field[keyword] + sign * step
    if "exclusiveMinimum" in field:
        yield "exclusiveMinimum", False, field["exclusiveMinimum"] + step
        yield "exclusiveMinimum", True, field["exclusiveMinimum"]
    for keyword, sign in (("minLength", -1), ("maxLength", 1), ("minItems", -1), ("maxItems", 1)):
        limit = field.get(keyword, 0)
        if not 0 < limit < LONGEST:
            continue
        for is_beyond, size in ((False, limit), (True, limit + sign)):
            value: Any = _text(field, size) if keyword.endswith("Length") else [_least(field.get("items", {}))] * size
            if value is None and is_beyond:
                value = "a" * size
            if value is not None:
                yield keyword, is_beyond, value
    if "pattern" in field and not re.search(field["pattern"], "\t!\t"):
        yield "pattern", True, "\t!\t"


def _with(base: Any, trail: Trail, value: Any, around: Mapping[Trail, Any]) -> Any:
    """Return the body with a value at a trail; what is on the way there is made."""
    body = copy.deepcopy(base)
    for place, least in around.items():
        body = _put(body, place, copy.deepcopy(least))
    return _put(body, trail, value)


def _put(body: Any, trail: Trail, value: Any) -> Any:
    if not trail:
        return value
    name, *rest = trail
    if isinstance(name, int):
        body = body if isinstance(body, list) and body else [None]
        body[name] = _put(body[name], tuple(rest), value)
        return body
    body = body if isinstance(body, dict) else {}
    body[name] = _put(body.get(name), tuple(rest), value)
    return body
