"""Signed documents and constants."""

import pytest
from gpunode_protocol.signing import Envelope
from gpunode_tracker.storage.documents import DocumentKind, add, constant, find_constant, newest, replace_value
from gpunode_tracker.tracker import Tracker
from sqlalchemy.exc import IntegrityError

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT

pytestmark = ON_BOTH


async def test_the_newest_document_of_a_kind(tracker: Tracker) -> None:
    """The largest sequence is the newest, and no sequence is given twice."""
    old, new = (Envelope(body=bytes([number]), signature=b"s") for number in (1, 2))
    kind = DocumentKind.REVOCATIONS
    async with tracker.database.write() as connection:
        await add(connection, kind, 20, new, START_AT)
        await add(connection, kind, 10, old, START_AT)
        assert await newest(connection, kind) == new
    with pytest.raises(IntegrityError):
        async with tracker.database.write() as connection:
            await add(connection, kind, 20, old, START_AT)


async def test_constants_are_set_once(tracker: Tracker) -> None:
    """The first value stays."""
    async with tracker.database.write() as connection:
        assert await find_constant(connection, "k") is None
        assert await constant(connection, "k", b"first") == b"first"
        assert await constant(connection, "k", b"second") == b"first"


async def test_values_that_change_are_replaced(tracker: Tracker) -> None:
    """The first time as well."""
    async with tracker.database.write() as connection:
        for value in (b"first", b"second"):
            await replace_value(connection, "v", value)
            assert await find_constant(connection, "v") == value
