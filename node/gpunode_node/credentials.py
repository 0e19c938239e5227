"""What the tracker gave this node: worker token and certificate, kept in a private file."""

from dataclasses import dataclass, field
from pathlib import Path

from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope
from gpunode_protocol.tracker_api import SeenPlace

from gpunode_node.state_files import read_json, write_json


@dataclass(frozen=True)
class Credentials:
    """token: for the tracker's REST interface. certificate: for adverts. region: as the tracker answered.

    seen: what it told of the place of this node's address, None for nothing.
    """

    token: str = field(repr=False)
    certificate: Envelope
    region: Region | None
    seen: SeenPlace | None = None


class CredentialsFile:
    """The file; a damaged one counts as absent, because the node can register again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Credentials | None:
        """Return what an earlier run got."""
        value = read_json(self._path)
        try:
            region, seen = value["region"], value.get("seen")  # a file of an older version has no place
            return Credentials(
                token=str(value["token"]),
                certificate=Envelope.model_validate_json(value["certificate"]),
                region=None if region is None else Region(region),
                seen=None if seen is None else SeenPlace.model_validate_json(seen),
            )
        except (AttributeError, TypeError, KeyError, ValueError):
            return None

    def save(self, credentials: Credentials) -> None:
        """Keep what the tracker gave.

        Raises:
            StateUnwritable: the file cannot be written.
        """
        write_json(
            self._path,
            {
                "token": credentials.token,
                "certificate": credentials.certificate.model_dump_json(),
                "region": credentials.region,
                "seen": None if credentials.seen is None else credentials.seen.model_dump_json(exclude_none=True),
            },
        )
