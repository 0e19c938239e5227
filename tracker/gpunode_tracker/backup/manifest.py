"""What an archive holds: the last member of it, against which all others are checked."""

from typing import Annotated, Final

from annotated_types import Ge, MaxLen
from pydantic import BaseModel, ConfigDict, Field

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, in hex digits."""
MemberName = Annotated[
    str, Field(pattern=r"^(tables/[a-z_]+\.msgpack|keys/(signing-keys/)?[A-Za-z0-9_-]+\.(key|json))$")
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TablePart(_Part):
    """A table. columns: in the order of each row's values."""

    name: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    columns: Annotated[list[str], MaxLen(200)]
    rows: Annotated[int, Ge(0)]

    @property
    def member(self) -> str:
        """The name of its member of the archive."""
        return f"tables/{self.name}.msgpack"


class FilePart(_Part):
    """A member of the archive."""

    name: MemberName
    size: Annotated[int, Ge(0)]
    sha256: Hash


class LogPart(_Part):
    """The ledger's log and its last signed head. issued_at: Unix seconds."""

    id: str
    size: Annotated[int, Ge(0)]
    root: Hash
    issued_at: int


class Manifest(_Part):
    """All of an archive.

    Args:
        format: of the archive.
        made_by: version of gpunode.
        created_at: Unix seconds.
        network: network id.
        schema_revision: of the database.
        database: which kind it came from; it restores on either.
        log: see ``LogPart``.
        has_root_key: whether the network's root key is in it.
        tables: in an order in which each row's references are there before it.
        files: all other members.
    """

    format: int
    made_by: str
    created_at: int
    network: str
    schema_revision: Annotated[str, Field(pattern=r"^[0-9]{4}$")]
    database: str
    log: LogPart
    has_root_key: bool
    tables: Annotated[list[TablePart], MaxLen(200)]
    files: Annotated[list[FilePart], MaxLen(10_000)]
