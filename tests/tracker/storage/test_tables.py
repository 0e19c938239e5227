"""Rules that hold for every table."""

from gpunode_tracker.storage.tables import metadata
from sqlalchemy import DateTime, Float, Numeric
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable


def test_no_floats_and_no_dates() -> None:
    """Amounts and instants are whole numbers; only what a worker says of its card, and its success, are not."""
    inexact = {
        str(column)
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, DateTime | Float | Numeric)
    }
    assert inexact == {"workers.gpu_memory_gb", "workers.memory_used_gb", "workers.success_rate"}


def test_every_table_has_a_primary_key() -> None:
    """Rows can be named."""
    assert all(list(table.primary_key) for table in metadata.tables.values())


def test_what_is_deleted_with_its_parent_is_found_by_an_index() -> None:
    """Otherwise every deletion would read the whole table of the children."""
    cascades = [
        (table, key.parent)
        for table in metadata.tables.values()
        for key in table.foreign_keys
        if key.ondelete == "CASCADE"
    ]
    assert len(cascades) >= 3
    for table, column in cascades:
        leading = [next(iter(index.columns)) for index in table.indexes] + [next(iter(table.primary_key))]
        assert column in leading, f"{column} leads no index"


def test_the_schema_suits_postgresql() -> None:
    """Every table compiles for PostgreSQL too."""
    for table in metadata.tables.values():
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]  # -- SQLAlchemy's dialects are untyped
