import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gpunode_benchmarks.lab import lab_process
from gpunode_benchmarks.lab.errors import LabFailed, LabUnavailable
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.lab_folders import folders_of
from gpunode_benchmarks.lab.lab_process import LabOrder, require_root

from tests.benchmarks.lab.conftest import SMALL_WORLD, start_or_skip


def test_without_root_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was tried then."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabUnavailable, match="needs root on Linux"):
        require_root()


def test_without_tun_devices_the_reason_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(lab_process, "TUN_PATH", tmp_path / "tun")
    with pytest.raises(LabUnavailable, match="Load the module tun"):
        require_root()


def test_where_the_kernel_refuses_the_reason_is_given(tmp_path: Path) -> None:
    """Root without its capabilities, as in most containers; the lab's process says it, and ends."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("taking capabilities away needs root and setpriv (util-linux)")
    command = [setpriv, "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable]
    order = LabOrder(str(tmp_path)).to_json()
    done = subprocess.run(
        [*command, "-m", "gpunode_benchmarks.lab.main", order],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"unavailable": "[Errno 1] unshare: Operation not permitted"}


def test_a_lab_that_does_not_come_up_leaves_nothing() -> None:
    """The error has the end of its log."""
    start_or_skip("possible", SMALL_WORLD).end()
    with pytest.raises(LabFailed, match=r"(?s)did not start.*no_such_module"):
        Lab.start("broken", SMALL_WORLD, preload=["no_such_module"])
    assert folders_of("broken") == []
