"""What tests need of the machine: without it they are skipped, and fail where it is known to be there."""

import os
from typing import Final, NoReturn

import pytest

NEEDED: Final = frozenset(os.environ.get("GPUNODE_TESTS_NEED", "").split())
"""Set by ``.ci/run``, by the names that ``lacking`` is called with; read once, as tests see no such variable."""


def lacking(what: str, why: str) -> NoReturn:
    """End the test: it cannot run on this machine.

    Args:
        what: is not there: ``postgresql``, ``redis``, ``faketime``, ``espeak-ng``, ``ffmpeg`` or ``lab``.
        why: for whoever reads the report.
    """
    if what in NEEDED:
        pytest.fail(f"{why}. GPUNODE_TESTS_NEED says that there is {what}.")
    pytest.skip(why)
