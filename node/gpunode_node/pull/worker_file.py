"""What the tracker gave this pull worker, kept in a private file."""

from dataclasses import dataclass, field
from pathlib import Path

from gpunode_protocol.regions import Region

from gpunode_node.state_files import read_json, write_json


@dataclass(frozen=True)
class WorkerPass:
    """worker_id: by which the tracker knows this worker. token: for its REST interface. region: as it answered."""

    worker_id: str
    token: str = field(repr=False)
    region: Region


class WorkerFile:
    """The file; a damaged one counts as absent, because the worker can register again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> WorkerPass | None:
        """Return what an earlier run got."""
        value = read_json(self._path)
        try:
            return WorkerPass(str(value["worker_id"]), str(value["token"]), Region(value["region"]))
        except (TypeError, KeyError, ValueError):
            return None

    def save(self, given: WorkerPass) -> None:
        """Keep what the tracker gave.

        Raises:
            StateUnwritable: the file cannot be written.
        """
        write_json(self._path, {"worker_id": given.worker_id, "token": given.token, "region": given.region})
