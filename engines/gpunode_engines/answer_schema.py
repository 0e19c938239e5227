"""JSON schemas that an answer must follow: checked before the job, and the answer against them after it."""

import json
from typing import Any

from gpunode_engines.bounded_schema import TooManySteps, follows
from gpunode_engines.errors import InvalidParameters, SchemaNotHeld


def read_schema(text: str) -> Any:
    """Return a JSON schema, draft 2020-12 (the default of JSON Schema).

    Raises:
        InvalidParameters: not JSON, or not a schema.
    """
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 -- keep the command quick

    try:
        schema = json.loads(text)
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidParameters(f"json_schema is not a JSON schema: {error.message[:200]}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidParameters("json_schema is not valid JSON, or nested too deeply.") from error
    return schema


def check_answer(answer: str, schema: Any) -> None:
    """Check a whole answer, as far as ``bounded_schema`` does.

    llama.cpp answers freely, without a word, to schemas with keywords that its grammar does not know.

    Raises:
        SchemaNotHeld: the answer does not follow the schema.
    """
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 -- comes with jsonschema

    try:
        is_held = follows(json.loads(answer), schema)
    except (ValueError, RecursionError, Unresolvable, TooManySteps):
        is_held = False
    if not is_held:
        raise SchemaNotHeld(
            "The answer does not follow json_schema: this engine cannot hold a model to a schema of this kind. "
            "Use plain types, enum, properties, required and items."
        )
