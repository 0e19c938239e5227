"""What an archive says of itself."""

import pytest
from gpunode_tracker.backup.manifest import FilePart, TablePart
from pydantic import ValidationError


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "../keys/a.key",
        "keys/../a.key",
        "/keys/a.key",
        "keys/a/b.key",
        "keys/.key",
        "tables/a.sql",
        "tables/A.msgpack",
        "keys/a.key\n",
    ],
)
def test_names_that_lead_elsewhere(name: str) -> None:
    """No member is written anywhere but to its place."""
    with pytest.raises(ValidationError):
        FilePart(name=name, size=0, sha256="0" * 64)


def test_a_table_and_its_member() -> None:
    """By its name."""
    assert TablePart(name="job_attempts", columns=[], rows=0).member == "tables/job_attempts.msgpack"
    with pytest.raises(ValidationError):
        TablePart(name="../x", columns=[], rows=0)
