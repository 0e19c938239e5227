"""Walking through a JSON schema of a stranger's. Pure."""

from collections.abc import Iterator
from typing import Any, Final

_VALUES: Final = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are data, whatever they look like."""
_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords that hold schemas under names of the author's own."""


def parts_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas in it, as they are and not copied, each once; those of one word are left out."""
    return (part for part in _values_of(schema) if isinstance(part, dict))


def count_parts(schema: Any) -> int:
    """Return how many schemas there are in one, itself and those of one word (true, false) counted."""
    return sum(isinstance(part, dict | bool) for part in _values_of(schema))


def _values_of(schema: Any) -> Iterator[Any]:
    """Yield all values of a schema that are not data, each dictionary before what is in it."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            for keyword, value in part.items():
                if keyword in _NAMED and isinstance(value, dict):
                    waiting += value.values()
                elif keyword not in _VALUES:
                    waiting.append(value)
