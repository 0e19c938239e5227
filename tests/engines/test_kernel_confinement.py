import sys
from pathlib import Path

import pytest
from gpunode_engines.kernel_confinement import KernelConfinement, read_kernel_confinement


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_this_kernel_answers() -> None:
    """seccomp is told as /proc tells it; asking changes nothing."""
    status = Path("/proc/self/status").read_text()
    found = read_kernel_confinement()
    assert found.seccomp == ("Seccomp:" in status)
    assert found.landlock_abi >= 0
    assert Path("/proc/self/status").read_text().count("NoNewPrivs:\t1") == status.count("NoNewPrivs:\t1")


def test_memory_cgroups(tmp_path: Path) -> None:
    """Version 2 lists its controllers in one file."""
    controllers = tmp_path / "cgroup.controllers"
    assert not read_kernel_confinement(controllers).memory_cgroups
    controllers.write_text("cpuset cpu io memory pids\n")
    assert read_kernel_confinement(controllers).memory_cgroups


def test_elsewhere_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """These are Linux's."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert read_kernel_confinement().offers() == ()


def test_what_is_offered_is_told_in_words() -> None:
    """With Landlock's version, which says what it can do."""
    kernel = KernelConfinement(seccomp=True, landlock_abi=7, memory_cgroups=False)
    assert kernel.offers() == ("seccomp", "Landlock (ABI 7)")
