"""Whether a value follows a JSON schema, given up where that takes too long: schema and value are strangers'.

jsonschema alone needs time without end for schemas of a few lines, and the process with it: a node's engine, where a
client chose the schema, or a client, where a node chose the value.
"""

import copy
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final

from gpunode_protocol.schema_parts import count_parts, parts_of

_MOST_STEPS: Final = 1_000_000
"""Keywords looked at; some 10 s."""
_PATTERNS_S: Final = 2.0
"""For all patterns and strings together."""
_LONGEST_S: Final = 15.0
"""For everything. A step takes some 10 µs, but many times that where it looks at, or complains of, a large value."""
MOST_PARTS: Final = 2_000
"""Schemas in one, or in all tools of a request: to find out whether each is valid takes some 0.3 ms."""
UNCHECKED: Final = "patternProperties"
"""A keyword whose patterns cannot be given up while they are tried."""

_Check = Callable[[Any, Any, Any, Any], Iterable[Any] | None]


class CheckTooLong(Exception):
    """It cannot be found out in reasonable time."""


def schema_problem(schema: Any) -> str | None:
    """Return why something cannot be used as a JSON schema, to be said after its name; None if it can.

    It is a JSON value: nothing in it contains itself.
    """
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 -- keep the command quick

    if count_parts(schema) > MOST_PARTS:
        return f"has more than {MOST_PARTS:,} schemas in it"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"is not a JSON schema: {error.message[:200]}"
    except RecursionError:
        return "is nested too deeply"
    return None


def follows(value: Any, schema: Any) -> bool:
    """Return whether a value follows a valid schema; raises as ``mismatch`` does."""
    return mismatch(value, schema) is None


def mismatch(value: Any, schema: Any) -> str | None:
    """Return what is wrong with a value under a valid schema, draft 2020-12; None if it follows the schema.

    Raises:
        CheckTooLong: see there. RecursionError: it refers to itself without end. Unresolvable: or to nothing.
    """
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 -- keep the command quick

    if any(UNCHECKED in part for part in parts_of(schema)):
        raise CheckTooLong
    budget = _Budget()
    own = {"pattern": budget.check_pattern, "uniqueItems": _check_unique}
    checks: dict[str, _Check] = dict(Draft202012Validator.VALIDATORS) | own
    counting = validators.extend(Draft202012Validator, {name: budget.counted(check) for name, check in checks.items()})
    error = next(iter(counting(_of_one_draft(schema)).iter_errors(value)), None)
    return None if error is None else str(error.message)


class _Budget:
    """What one check may take."""

    def __init__(self) -> None:
        self._steps = _MOST_STEPS
        self._patterns_s = _PATTERNS_S
        self._ends_at = time.monotonic() + _LONGEST_S

    def counted(self, check: _Check) -> _Check:
        """Return a keyword's check as one that raises CheckTooLong when there were too many."""

        def step(validator: Any, keyword_value: Any, instance: Any, part: Any) -> Iterable[Any] | None:
            self._steps -= 1
            if self._steps < 0 or time.monotonic() > self._ends_at:
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


def _check_unique(validator: Any, wanted: Any, instance: Any, _: Any) -> Iterable[Any]:
    """See the keyword ``uniqueItems``; jsonschema's own check compares each item with each other, in one step."""
    from jsonschema import ValidationError  # noqa: PLC0415 -- keep the command quick

    if wanted and validator.is_type(instance, "array") and len({_frozen(item) for item in instance}) < len(instance):
        yield ValidationError("Its items are not unique.")


def _frozen(value: Any) -> Hashable:
    """Return what is equal for equal JSON values: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return "object", frozenset((name, _frozen(part)) for name, part in value.items())
    if isinstance(value, list):
        return "array", tuple(_frozen(part) for part in value)
    return isinstance(value, bool), value


def _of_one_draft(schema: Any) -> Any:
    """Return a schema that names no draft: where one does, jsonschema goes on with another validator."""
    schema = copy.deepcopy(schema)
    for part in parts_of(schema):
        part.pop("$schema", None)
    return schema
