"""One file from a folder, resumable at any byte, also by another process."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from gpunode_engines.disk_room import given_back_when_full

_PIECE_BYTES: Final = 8 * 1024**2

Watch = Callable[[int, int], None]
"""Is told the bytes that are here and all of them."""


def copy_file(source: Path, target: Path, partial: Path, watch: Watch) -> Path:
    """Copy what is missing and return the target.

    A file has no revision, so what is here of it is compared with the source, and written anew from where they part.

    Args:
        source: what to copy.
        target: where the whole file goes; one that is there already stays if it equals the source, else it is mended.
        partial: where what is here of it stays until it is whole.
        watch: see ``Watch``.

    Raises:
        DownloadFailed: the disk is full; what was here of the file is deleted. OSError: the source cannot be read.
    """
    with source.open("rb") as original:
        if _equal(original, target, watch):
            return target
        partial.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and not target.is_symlink() and not partial.exists():
            target.replace(partial)  # what differs of it is written anew, in the room that it has
        with given_back_when_full(partial, target):
            with partial.open("r+b" if partial.exists() else "w+b") as copy:
                _complete(original, copy, watch)
            return partial.replace(target)


def _equal(original: BinaryIO, target: Path, watch: Watch) -> bool:
    """Whether a file that is here has the bytes of the original; leaves the original at its start."""
    size = os.fstat(original.fileno()).st_size
    if not target.is_file() or target.stat().st_size != size:
        return False
    done = 0
    with target.open("rb") as here:
        while piece := original.read(_PIECE_BYTES):
            if here.read(len(piece)) != piece:
                original.seek(0)
                return False
            done += len(piece)
            watch(done, size)
    return True


def _complete(original: BinaryIO, copy: BinaryIO, watch: Watch) -> None:
    size = os.fstat(original.fileno()).st_size
    done, comparing = 0, True
    while piece := original.read(_PIECE_BYTES):
        comparing = comparing and copy.read(len(piece)) == piece
        if not comparing:
            copy.seek(done)
            copy.write(piece)
        done += len(piece)
        watch(done, size)
    copy.seek(done)
    copy.truncate()
    copy.flush()
    os.fsync(copy.fileno())
