import subprocess
import sys

import pytest
from gpunode_engines import resource_limits
from gpunode_engines.resource_limits import limit


def test_a_lower_limit_stays() -> None:
    """A process cannot be given back what was taken from it."""
    code = (
        "import resource; from gpunode_engines.resource_limits import limit\n"
        "limit('NOFILE', 50); limit('NOFILE', 60); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(50, 50)\n"


def test_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is limited, and nothing fails."""
    monkeypatch.setattr(resource_limits, "HAS_LIMITS", False)
    monkeypatch.setitem(sys.modules, "resource", None)
    limit("CORE", 0)
