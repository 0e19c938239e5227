"""One line for the user from any exception: what happened, the cause, the next step."""

import errno
import sys
import tomllib
from typing import Final

from gpunode_protocol.errors import GpunodeError
from pydantic import ValidationError

#: Import name of an optional dependency to the extra that installs it (pyproject.toml, optional-dependencies).
EXTRA_OF_PACKAGE: Final = {
    "hivemind": "mesh",
    "multiaddr": "mesh",
    "torch": "mesh",
    "filelock": "pull",
    "huggingface_hub": "pull",
    "psutil": "pull",
    "pynvml": "pull",
    "uvloop": "node",
    "xllamacpp": "llamacpp",
    "aiosqlite": "tracker",
    "alembic": "tracker",
    "asyncpg": "tracker",
    "geoip2": "tracker",
    "geolite2": "tracker",
    "maxminddb": "tracker",
    "prometheus_client": "tracker",
    "redis": "tracker",
    "sqlalchemy": "tracker",
}

#: Of the mesh, the tracker, and Python's own for Unix.
_NOT_ON_WINDOWS: Final = frozenset({"fcntl", "hivemind", "multiaddr", "resource", "torch", "uvloop"})

#: What to do about the operating system's refusals that users can meet.
_NEXT_STEP_OF_ERRNO: Final = {
    errno.EACCES: "Check the owner and the permissions",
    errno.EADDRINUSE: "Stop the program that uses the address, or choose another port",
    errno.ECONNREFUSED: "Check the address, and that the other side runs",
    errno.EDQUOT: "Free some disk space and start again",
    errno.ENOENT: "Check the path",
    errno.ENOSPC: "Free some disk space and start again",
}


def describe(error: BaseException) -> str:
    """Return one line without a traceback; an ``ExceptionGroup`` is described by its first user message."""
    return " ".join(_describe(_most_telling(error)).split())


def _describe(error: BaseException) -> str:
    match error:
        case GpunodeError():
            return str(error)
        case ModuleNotFoundError(name=str(name)) if name.partition(".")[0] in EXTRA_OF_PACKAGE.keys() | _NOT_ON_WINDOWS:
            return _missing_extra(name.partition(".")[0])
        case ValidationError():
            return _invalid_settings(error)
        case tomllib.TOMLDecodeError():
            return f"The configuration file is not valid TOML: {error}. Correct it and start again."
        case OSError():
            return _refusal_of_the_system(error)
        case _:
            return (
                f"Unexpected {type(error).__name__}: {error}. This is a bug in gpunode. "
                "Run the command again as 'gpunode --debug …' and report what it prints."
            )


def _most_telling(error: BaseException) -> BaseException:
    """Return the first ``GpunodeError`` among a group's leaves, else its first leaf, else the error itself."""
    leaves = list(_leaves(error))
    return next((leaf for leaf in leaves if isinstance(leaf, GpunodeError)), leaves[0])


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _missing_extra(package: str) -> str:
    if sys.platform == "win32" and package in _NOT_ON_WINDOWS:
        return f"This command needs {package}, which does not run on Windows. Use 'gpunode start --pull' there."
    extra = EXTRA_OF_PACKAGE[package]
    return f"This command needs {package}, which is not installed. Run: pip install 'gpunode[{extra}]'"


def _invalid_settings(error: ValidationError) -> str:
    """Name the fields and the complaints, never the values: one of them may be a secret."""
    from gpunode_protocol.validation import all_problems  # noqa: PLC0415 -- --help stays light

    complaints = "; ".join(all_problems(error))
    return f"{error.title} is not valid: {complaints}. Correct the option, environment variable or file that sets it."


def _refusal_of_the_system(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    where = f": {error.filename}" if error.filename is not None else ""
    next_step = _NEXT_STEP_OF_ERRNO.get(error.errno or 0, "Run the command again with 'gpunode --debug …' for details")
    return f"{what}{where}. {next_step}."
