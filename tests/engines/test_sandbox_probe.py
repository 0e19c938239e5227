"""The probe on this machine."""

import sys
from pathlib import Path

import pytest
from gpunode_engines import sandbox_probe
from gpunode_engines.confinement import Confinement
from gpunode_engines.kernel_confinement import read_kernel_confinement
from gpunode_engines.sandbox_probe import probe_memory_cgroup, probe_sandbox


def test_the_probe_agrees_with_the_kernel() -> None:
    """What is offered takes effect."""
    kernel = read_kernel_confinement()
    confinement = probe_sandbox()
    assert confinement.files == (kernel.landlock_abi > 0)
    assert confinement.system_calls == kernel.seccomp
    assert confinement.no_new_privileges == (sys.platform == "linux")


def test_a_probe_that_fails_promises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that cannot be started, for example."""
    monkeypatch.setattr(sandbox_probe.sys, "executable", "/nonexistent")
    assert probe_sandbox() == Confinement()


def test_a_memory_cgroup_is_tried_out_and_removed(tmp_path: Path) -> None:
    """In folders that take what a kernel would; where there are none, there is no such limit."""
    own = tmp_path / "own"
    own.write_text("0::/node\n")
    assert not probe_memory_cgroup(tmp_path / "nothing", own)
    node = tmp_path / "node"
    node.mkdir()
    (node / "cgroup.subtree_control").write_text("memory")
    assert probe_memory_cgroup(tmp_path, own)
    (group,) = node.glob("gpunode-probe-*")
    assert int((group / "cgroup.procs").read_text()) > 0
    assert int((group / "memory.max").read_text()) > 0
