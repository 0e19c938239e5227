"""Processes whose clock is wrong: libfaketime shifts the time of day that Python sees, as a wrong system clock does."""

from pathlib import Path
from typing import Final

from tests.needs import lacking

#: where Debian and Ubuntu (by architecture) and Fedora put the library
_PLACES: Final = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1")


def shifted_clock(offset_s: int) -> dict[str, str]:
    """Return the environment of a process whose clock is ``offset_s`` seconds ahead.

    Durations stay right, and p2pd keeps the right time: Go asks the kernel itself.
    """
    return _library() | {"FAKETIME": f"{offset_s:+d}"}


def adjustable_clock(file: Path) -> dict[str, str]:
    """Return the environment of a process that reads its offset from a file (see ``set_clock``) again and again."""
    return _library() | {"FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_CACHE_DURATION": "1"}


def set_clock(file: Path, offset_s: int) -> None:
    """Write the offset for ``adjustable_clock``."""
    draft = file.with_suffix(".draft")
    draft.write_text(f"{offset_s:+d}\n")
    draft.replace(file)


def _library() -> dict[str, str]:
    found = [path for pattern in _PLACES for path in Path("/").glob(pattern.removeprefix("/"))]
    if not found:
        lacking("faketime", "needs libfaketime: apt-get install faketime")
    # the monotonic clock stays, or waits would never end; so do the times of files
    return {"LD_PRELOAD": str(found[0]), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
