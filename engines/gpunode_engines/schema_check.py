"""Whether a value follows a JSON schema, given up where that takes too long: schema and value are strangers'.

jsonschema alone needs time without end for schemas of a few lines, and the engine's process with it.
"""

import copy
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from gpunode_engines.schema_parts import parts_of

_MOST_STEPS: Final = 1_000_000
"""Keywords looked at; some 10 s."""
_PATTERNS_S: Final = 2.0
"""For all patterns and strings together."""

_Check = Callable[[Any, Any, Any, Any], Iterable[Any] | None]


class CheckTooLong(Exception):
    """It cannot be found out in reasonable time."""


def follows(value: Any, schema: Any) -> bool:
    """Return whether a value follows a valid schema, draft 2020-12.

    Raises:
        CheckTooLong: see there. RecursionError: it refers to itself without end. Unresolvable: or to nothing.
    """
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 -- keep the command quick

    budget = _Budget()
    checks: dict[str, _Check] = dict(Draft202012Validator.VALIDATORS) | {"pattern": budget.check_pattern}
    counting = validators.extend(Draft202012Validator, {name: budget.counted(check) for name, check in checks.items()})
    return bool(counting(_of_one_draft(schema)).is_valid(value))


class _Budget:
    """What one check may take."""

    def __init__(self) -> None:
        self._steps = _MOST_STEPS
        self._patterns_s = _PATTERNS_S

    def counted(self, check: _Check) -> _Check:
        """Return a keyword's check as one that raises CheckTooLong when there were too many."""

        def step(validator: Any, keyword_value: Any, instance: Any, part: Any) -> Iterable[Any] | None:
            self._steps -= 1
            if self._steps < 0:
                raise CheckTooLong
            return check(validator, keyword_value, instance, part)

        return step

    def check_pattern(self, validator: Any, pattern: str, instance: Any, _: Any) -> Iterable[Any]:
        """See the keyword ``pattern``. ``re`` cannot be interrupted, and nothing else runs meanwhile."""
        from jsonschema import ValidationError  # noqa: PLC0415 -- keep the command quick

        if validator.is_type(instance, "string") and not self._is_found(pattern, instance):
            yield ValidationError("It does not match the pattern.")

    def _is_found(self, pattern: str, text: str) -> bool:
        import regex  # noqa: PLC0415 -- keep the command quick

        if self._patterns_s <= 0:
            raise CheckTooLong
        began_at = time.monotonic()
        try:
            return regex.search(pattern, text, timeout=self._patterns_s, concurrent=True) is not None
        except TimeoutError as error:
            raise CheckTooLong from error
        except regex.error:  # ``re`` alone can read it
            return False
        finally:
            self._patterns_s -= time.monotonic() - began_at


def _of_one_draft(schema: Any) -> Any:
    """Return a schema that names no draft: where one does, jsonschema goes on with another validator."""
    schema = copy.deepcopy(schema)
    for part in parts_of(schema):
        part.pop("$schema", None)
    return schema
