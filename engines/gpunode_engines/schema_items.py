"""How many items the arrays of a held answer may have: grammars are written out item by item. Pure."""

import copy
from typing import Any, Final

from gpunode_protocol.schema_parts import parts_of

from gpunode_engines.errors import InvalidParameters

_MOST_HELD: Final = 10_000
"""Upper bounds beyond it are left to the check of the answer: llama.cpp, told of 100,000, holds it to nothing."""
_ITEMS_PER_TOKEN: Final = 8
"""No token is as many items of an array, each with its comma."""


def within_reach(schema: Any, max_tokens: int) -> Any:
    """Return a schema as a backend should hold an answer of at most ``max_tokens`` to it; the answer is checked anyway.

    llama.cpp, asked for a billion items, writes a grammar of a billion rules: minutes and all of the memory.

    Raises:
        InvalidParameters: it asks for more items than such an answer can have.
    """
    schema = copy.deepcopy(schema)
    reach = _ITEMS_PER_TOKEN * max_tokens
    for part in parts_of(schema):
        least, most = _number(part.get("minItems")), _number(part.get("maxItems"))
        if least > reach:
            raise InvalidParameters(
                f"json_schema asks for {least:.0f} items in an array, more than max_tokens ({max_tokens}) has room for."
            )
        if most > min(reach, _MOST_HELD):
            del part["maxItems"]
    return schema


def _number(value: object) -> float:
    """Return a keyword's value, 0 where it is none: under a property's name of the same letters, say."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
