"""The vouchers that this client hands in, on disk until the tracker has answered for them: a file each."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gpunode_protocol.tracker_api import SettlementItem

from gpunode._state import write_json

_log = logging.getLogger(__name__)

MAX_KEPT: Final = 1_000
"""Two KiB each. A client that cuts so many answers while its tracker is away leaves the rest to the nodes."""
KEPT_S: Final = 7 * 24 * 3600.0
"""No tracker pays for a job so long after its grant has ended: where there is no room, the next one is kept instead."""


class UnsettledVouchers:
    """The files of one tracker; several processes may share them. What is handed in twice is paid once.

    Args:
        folder: of theirs; made with the first one.
        clock: Unix seconds.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._clock = clock

    def put(self, item: SettlementItem) -> str | None:
        """Keep a voucher; return its name here, None if it could not be kept (full, or the disk is)."""
        name = hashlib.sha256(item.model_dump_json().encode()).hexdigest()[:32]
        if not self._has_room(name):
            _log.warning("a voucher is not kept: there are %d", MAX_KEPT, extra={"event": "voucher_not_kept"})
            return None
        try:
            kept = {"at": self._clock(), "item": item.model_dump(mode="json", exclude_none=True)}
            write_json(self._path(name), kept)
        except OSError as error:
            _log.warning("a voucher is not kept: %s", error, extra={"event": "voucher_not_kept"})
            return None
        return name

    def all(self) -> dict[str, SettlementItem]:
        """Return what is kept, by its name, oldest first; what is damaged is dropped."""
        return {name: item for _, name, item in self._read_all()}

    def _has_room(self, name: str) -> bool:
        """Return whether one more may be kept; what is too old makes room, but only where that is needed.

        The clock may be wrong for a while. What the tracker does not pay for any more is gone when it says so.
        """
        paths = self._paths()
        if len(paths) < MAX_KEPT or self._path(name) in paths:
            return True
        old = [other for at, other, _ in self._read_all() if self._clock() - at > KEPT_S]
        for other in old:
            self.remove(other)
        return bool(old)

    def _read_all(self) -> list[tuple[float, str, SettlementItem]]:
        kept: list[tuple[float, str, SettlementItem]] = []
        for path in self._paths():
            with contextlib.suppress(OSError):  # another process has removed it, or this one has too many files open
                read = _read(path)
                if read is None:
                    path.unlink()
                else:
                    kept.append((read[0], path.stem, read[1]))
        return sorted(kept, key=lambda entry: entry[:2])

    def remove(self, name: str) -> None:
        """Forget one for which the tracker has answered."""
        with contextlib.suppress(OSError):
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _paths(self) -> list[Path]:
        return list(self._folder.glob("*.json"))


def _read(path: Path) -> tuple[float, SettlementItem] | None:
    """Return the Unix seconds since which a voucher is kept, and it; None if the file is damaged.

    Raises:
        OSError: it cannot be read now.
    """
    try:
        kept = json.loads(path.read_bytes())
        return float(kept["at"]), SettlementItem.model_validate_json(json.dumps(kept["item"]))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):  # pydantic's is a ValueError
        return None
