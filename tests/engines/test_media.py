"""Requests of all tasks share a pipe, where each is known by its type."""

from dataclasses import fields
from typing import get_args

from gpunode_engines.base import PreparableRequest, WorkRequest


def test_types_are_distinct() -> None:
    """A child must not take one request for another."""
    for union in (WorkRequest, PreparableRequest):
        types = [next(field.default for field in fields(kind) if field.name == "type") for kind in get_args(union)]
        assert len(set(types)) == len(types) == 4
