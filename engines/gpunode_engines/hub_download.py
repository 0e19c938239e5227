"""One file from a model hub over HTTP, resumable at any byte, also by another process."""

import hashlib
import os
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpunode_engines.disk_room import given_back_when_full

if TYPE_CHECKING:
    from httpx2 import Response

PARTIAL_FOLDER: Final = ".partial"
"""Below a model's folder: files that are not whole. A file's name is the digest of revision and name."""

_SILENCE_S: Final = 60.0
"""A connection that brings nothing for so long is given up and taken up again."""
_BREAKS: Final = 5
"""Breaks in a row that brought nothing new, after which a download is given up."""
_PAUSE_S: Final = 1.0
"""Before the first attempt to go on; doubles with each in vain."""

Watch = Callable[[int, int | None], None]
"""Is told the bytes that are here and all of them, None = not known."""


class RangeDownload:
    """Downloads one file.

    Args:
        url: of the file at a fixed revision, whose bytes therefore never change.
        target: where the whole file goes.
        partial: where what is here of it stays until it is whole.
        watch: see ``Watch``.
        sleep: seconds.
    """

    def __init__(
        self, url: str, target: Path, partial: Path, watch: Watch, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._url = url
        self._target = target
        self._partial = partial
        self._watch = watch
        self._sleep = sleep
        self._has_ranges = True  # of the server, until it shows otherwise

    def run(self) -> Path:
        """Download what is missing and return the target.

        Raises:
            DownloadFailed: the disk is full; what was here of the file is deleted, to give its room back.
            httpx2.HTTPError, HfHubHTTPError, OSError: the server refuses, or the connection breaks again and again.
        """
        from httpx2 import TransportError  # noqa: PLC0415 -- huggingface_hub's HTTP client

        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._target.parent.mkdir(parents=True, exist_ok=True)
        breaks = 0
        while True:
            before = self._here()
            try:
                with given_back_when_full(self._partial, self._target):
                    self._go_on(before)
                    return self._partial.replace(self._target)
            except TransportError:
                breaks = 1 if self._here() > before else breaks + 1
                if breaks > _BREAKS:
                    raise
                self._sleep(_PAUSE_S * 2 ** (breaks - 1))

    def _here(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0

    def _go_on(self, here: int) -> None:
        """Take one connection to its end. Raises TransportError when it breaks before."""
        import httpx2  # noqa: PLC0415 -- huggingface_hub's HTTP client
        from huggingface_hub import get_session, hf_raise_for_status  # noqa: PLC0415 -- slow to import, and optional

        start = here if self._has_ranges else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        timeout = httpx2.Timeout(_SILENCE_S)
        with get_session().stream("GET", self._url, headers=headers, timeout=timeout) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if _total_of(response) == start:
                    return
                self._partial.unlink()
                raise httpx2.ReadError("What is here is longer than the file.")
            hf_raise_for_status(response)
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                start = 0
            elif _start_of(response) not in {None, start}:
                self._has_ranges = False
                raise httpx2.ReadError("Another piece came than was asked for.")
            self._store(response, start)

    def _store(self, response: "Response", start: int) -> None:
        import httpx2  # noqa: PLC0415 -- huggingface_hub's HTTP client

        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with self._partial.open("r+b" if start else "wb") as file:
            file.seek(start)
            self._watch(start, total)
            for chunk in response.iter_bytes():  # of a given size, they would be lost when the connection breaks
                file.write(chunk)
                self._watch(file.tell(), total)
            if total is not None and file.tell() != total:
                raise httpx2.ReadError("The connection ended before the file.")
            file.truncate()
            file.flush()
            os.fsync(file.fileno())


def partial_path(folder: Path, revision: str, name: str) -> Path:
    """Return where an unfinished file of a model's folder lies."""
    return folder / PARTIAL_FOLDER / hashlib.sha256(f"{revision}/{name}".encode()).hexdigest()[:32]


def _start_of(response: Any) -> int | None:
    """Return where a piece begins, as ``Content-Range: bytes START-END/SIZE`` names it."""
    start = str(response.headers.get("Content-Range", "")).removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdecimal() else None


def _total_of(response: Any) -> int | None:
    """Return the file's size that ``Content-Range: bytes */SIZE`` names."""
    size = str(response.headers.get("Content-Range", "")).rpartition("/")[2]
    return int(size) if size.isdecimal() else None
