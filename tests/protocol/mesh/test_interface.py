import subprocess
import sys

from gpunode_protocol.mesh import MeshState, MeshStatus, Reachability


def test_importing_the_mesh_imports_nothing_heavy() -> None:
    """hivemind, torch and protobuf come with create_mesh, not with the interface."""
    code = (
        "import sys, gpunode_protocol.mesh\n"
        "print(sorted({'hivemind', 'torch', 'google.protobuf', 'multiaddr'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_status_counters_are_not_shared() -> None:
    """Two snapshots have their own counters."""
    first, second = MeshStatus(state=MeshState.STOPPED), MeshStatus(state=MeshState.STOPPED)
    assert first.records_rejected is not second.records_rejected


def test_unknown_reachability_is_neither_true_nor_false() -> None:
    """Nobody answered is not the same as unreachable."""
    assert Reachability(reachable=None).reachable is None
