"""Fractions as they travel: in millionths, within the limits that the protocol's parameters declare."""

from annotated_types import Ge, Le
from gpunode_protocol.payloads import MILLION
from gpunode_protocol.signing import WireModel

from gpunode._refusals import not_valid


def millionths(params: type[WireModel], name: str, value: object) -> int:
    """Return a number in millionths.

    Args:
        params: the task's parameters, with a field ``{name}_millionths``.
        name: the argument's, as the caller knows it.
        value: what the caller gave.

    Raises:
        InvalidRequest: it is no number, or outside of the field's limits.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 -- NaN
        raise not_valid(f"{name} must be a number")
    low, high = _limits(params, name)
    if not low <= value * MILLION <= high:
        # Where one millionth is the least, zero is what the user has to avoid.
        limits = f"between {low / MILLION:g} and" if low != 1 else "more than 0 and at most"
        raise not_valid(f"{name} must be {limits} {high / MILLION:g}")
    return round(value * MILLION)


def _limits(params: type[WireModel], name: str) -> tuple[int, int]:
    """Return the least and the greatest value that may travel, in millionths."""
    rules = params.model_fields[f"{name}_millionths"].metadata
    (low,) = (rule.ge for rule in rules if isinstance(rule, Ge))
    (high,) = (rule.le for rule in rules if isinstance(rule, Le))
    assert isinstance(low, int)  # noqa: S101 -- as payloads.py declares them
    assert isinstance(high, int)  # noqa: S101 -- as above
    return low, high
