"""JSON schemas that an answer must follow: checked before the job, and the answer against them after it."""

import functools
import json
from typing import Any

from gpunode_protocol.schema_check import UNCHECKED, CheckTooLong, follows, schema_problem
from gpunode_protocol.schema_parts import parts_of

from gpunode_engines.errors import InvalidParameters, SchemaNotHeld


def read_schema(text: str) -> Any:
    """Return a JSON schema, draft 2020-12 (the default of JSON Schema).

    Raises:
        InvalidParameters: not JSON, or not a schema.
    """
    problem = _problem_of(text)
    if problem is not None:
        raise InvalidParameters(f"json_schema {problem}.")
    return json.loads(text)


@functools.lru_cache(maxsize=64)  # each job reads its schema and tools three times
def _problem_of(text: str) -> str | None:
    try:
        schema = json.loads(text)
        json.dumps(schema, ensure_ascii=False).encode()  # half a character, which JSON can name, nothing can write
    except (ValueError, RecursionError):
        return "is not valid JSON, or nested too deeply"
    return schema_problem(schema)


def read_answer_schema(text: str) -> Any:
    """Return a schema against which an answer can be checked.

    Raises:
        InvalidParameters: see ``read_schema``, or it has patterns of property names.
    """
    schema = read_schema(text)
    if any(UNCHECKED in part for part in parts_of(schema)):
        raise InvalidParameters(f"json_schema has {UNCHECKED}, to which no engine holds a model; name properties.")
    return schema


def check_answer(answer: str, schema: Any) -> None:
    """Check a whole answer.

    llama.cpp answers freely, without a word, to schemas with keywords that its grammar does not know.

    Raises:
        SchemaNotHeld: the answer does not follow the schema, or that cannot be found out in reasonable time.
    """
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 -- comes with jsonschema

    try:
        if follows(json.loads(answer), schema):
            return
    except (ValueError, RecursionError, Unresolvable):
        pass
    except CheckTooLong as error:
        raise SchemaNotHeld(
            "The answer takes too long to check: json_schema names the same parts again and again, or has a pattern "
            "with many ways to match. Make it simpler."
        ) from error
    raise SchemaNotHeld(
        "The answer does not follow json_schema: this engine cannot hold a model to a schema of this kind. "
        "Use plain types, enum, properties, required and items."
    )
