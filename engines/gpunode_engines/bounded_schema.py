"""JSON schemas of strangers against answers that they shape: judged in bounded time.

A pattern can take longer than the sun, a chain of references that each lead to the next one twice as well, and whoever
judges them answers nobody meanwhile. So patterns are not looked at, nor what walks through schemas by itself, and
everything else may take so many steps. The client, whose schema it is, judges the whole answer.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

MAX_STEPS: Final = 100_000
"""Keywords that are applied to values: about a second's work, for hundreds of times the values of a long answer."""

_UNJUDGED: Final = ("pattern", "patternProperties", "unevaluatedItems", "unevaluatedProperties")
_BESIDE_PATTERNS: Final = "additionalProperties"  # which names it means depends on the patterns beside it

Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]
"""jsonschema's: (validator, the keyword's value, instance, schema) -> errors."""


class TooManySteps(Exception):
    """The schema asks for more steps than an answer is worth."""


class _Steps:
    """Counts down."""

    def __init__(self, most: int) -> None:
        self.left = most

    def bounded(self, keyword: Keyword) -> Keyword:
        """Return a keyword that counts each time it is applied."""

        def judge(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
            self.left -= 1
            if self.left < 0:
                raise TooManySteps
            return keyword(validator, value, instance, schema)

        return judge


def follows(instance: Any, schema: Any, max_steps: int = MAX_STEPS) -> bool:
    """Return whether a JSON value follows a schema, as far as is judged here.

    Raises:
        TooManySteps: that cannot be told in ``max_steps`` steps. RecursionError, Unresolvable: nor can it otherwise.
    """
    from jsonschema.validators import extend  # noqa: PLC0415 -- keep the command quick

    steps = _Steps(max_steps)
    draft = _draft()
    keywords = {name: steps.bounded(keyword) for name, keyword in draft.VALIDATORS.items()}
    keywords |= dict.fromkeys(_UNJUDGED, steps.bounded(_unjudged))
    keywords[_BESIDE_PATTERNS] = steps.bounded(_additional_properties)
    return bool(extend(draft, keywords)(schema).is_valid(instance))


@lru_cache(maxsize=1)
def _draft() -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 -- as above

    return Draft202012Validator


def _unjudged(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> None:
    """Find no error."""


def _additional_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
    if "patternProperties" in schema:
        return None
    errors: Iterator[Any] | None = _draft().VALIDATORS[_BESIDE_PATTERNS](validator, value, instance, schema)
    return errors
