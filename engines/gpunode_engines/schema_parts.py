"""Walking through a JSON schema of a stranger's. Pure."""

from collections.abc import Iterator
from typing import Any, Final

_VALUES: Final = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are data, whatever they look like."""
_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords that hold schemas under names of the author's own."""


def parts_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas in it, as they are and not copied, each once."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            yield part
            for keyword, value in part.items():
                if keyword in _NAMED and isinstance(value, dict):
                    waiting += value.values()
                elif keyword not in _VALUES:
                    waiting.append(value)
