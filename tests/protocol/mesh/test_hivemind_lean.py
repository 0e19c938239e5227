import importlib.util
import subprocess
import sys

import pytest
from gpunode_protocol.mesh._hivemind_lean import prepare

_IMPORT = "import sys, gpunode_protocol.mesh._hivemind\n"


def run(code: str) -> str:
    """Run code in a process of its own; return what it prints."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_mesh_comes_without_torch() -> None:
    """Every process of a network carries hivemind; torch would cost each 250 MB and 3 s."""
    assert run(_IMPORT + "print('hivemind.dht.node' in sys.modules, 'torch' in sys.modules)") == "True False"


def test_hivemind_itself_still_works_afterwards() -> None:
    """A program that uses hivemind, too, gets all of it, with the same classes."""
    code = _IMPORT + (
        "from gpunode_protocol.mesh import _hivemind_api as api\n"
        "import hivemind\n"
        "print(hivemind.__version__, hivemind.dht.DHTNode is api.DHTNode, hivemind.DHT.__name__)"
    )
    assert run(code) == "1.1.12 True DHT"


def test_hivemind_imported_before_is_left_alone() -> None:
    """Whatever is there already stays; the guards work on it just the same."""
    prepare()
    before = sys.modules["hivemind"]
    prepare()
    assert sys.modules["hivemind"] is before


def test_missing_hivemind_is_a_missing_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line turns this into the command that installs it."""
    monkeypatch.delitem(sys.modules, "hivemind", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError) as failure:
        prepare()
    assert failure.value.name == "hivemind"
