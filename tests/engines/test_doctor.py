from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.confinement import Confinement
from gpunode_engines.devices import Gpu
from gpunode_engines.doctor import check_disk, check_gpu, check_models, check_sandbox, checks, judge_gpu, judge_sandbox
from gpunode_engines.gpu_driver import DriverState
from gpunode_engines.kernel_confinement import KernelConfinement
from gpunode_protocol.diagnosis import Subject

GIB = 1024**3
CARD = Gpu(name="RTX 4090", memory_bytes=24 * GIB, free_memory_bytes=20 * GIB)


def test_a_card_with_its_driver() -> None:
    """Version and free memory are told."""
    finding = judge_gpu(DriverState(cards=1, version="550.54", gpus=(CARD,)), use_gpu=True)
    assert (finding.status, finding.message) == (
        "ok",
        "NVIDIA driver 550.54: RTX 4090, 20.0 of 24.0 GiB free.",
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (DriverState(cards=1, problem="Driver/library version mismatch"), "Driver/library version mismatch"),
        (DriverState(cards=1, version="550.54"), "driver 550.54 shows no card"),
    ],
)
def test_a_card_whose_driver_does_not_work(state: DriverState, words: str) -> None:
    """The node works all the same, on the CPU: a warning, with the reason."""
    finding = judge_gpu(state, use_gpu=True)
    assert (finding.status, words in finding.message, "nvidia-smi" in finding.fix) == ("warning", True, True)


def test_no_card_and_no_wish_for_one() -> None:
    """Neither is a fault."""
    assert "CPU" in judge_gpu(DriverState(cards=0, problem="NVML Shared Library Not Found"), use_gpu=True).message
    assert "GPUNODE_ENGINE_GPU" in judge_gpu(DriverState(cards=1, problem="x"), use_gpu=False).message


def test_the_sandbox_is_told_beside_what_the_kernel_offers() -> None:
    """Nobody should believe in more confinement than there is."""
    kernel = KernelConfinement(seccomp=True, landlock_abi=7, memory_cgroups=True)
    whole = Confinement(no_new_privileges=True, files=True, system_calls=True, denials_reported=True)
    finding = judge_sandbox(kernel, whole, memory_cgroup=True)
    assert finding.status == "ok"
    assert finding.message.startswith("Sandbox level 3 of 3 for engines: no new privileges, files by Landlock")
    assert "ABI 7" in finding.message
    assert "the scratch folder to 512 MiB by a look every 2 s" in finding.message
    assert (
        "kernel's log only" in judge_sandbox(kernel, replace(whole, denials_reported=False), memory_cgroup=True).message
    )
    partly = judge_sandbox(kernel, replace(whole, files=False), memory_cgroup=False)
    assert (partly.status, "level 2 of 3" in partly.message) == ("warning", True)
    assert "not files by Landlock. This kernel offers: seccomp, Landlock (ABI 7)" in partly.message
    assert "strict" in partly.fix
    nothing = judge_sandbox(kernel, Confinement(), memory_cgroup=False)
    assert nothing.message.startswith("Sandbox level 0 of 3 for engines: a process of its")
    assert " Memory is limited by a cgroup, " in finding.message
    assert " Memory is limited by a look every 2 s, as no cgroup can be made from here, " in partly.message


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check comes to a finding on the machine as it is, and makes no folder."""
    monkeypatch.setenv("GPUNODE_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("GPUNODE_CACHE_DIR", str(tmp_path / "cache"))
    findings = [check.run() for check in checks(Subject())]
    assert {finding.status for finding in findings} <= {"ok", "warning"}
    assert (check_models().status, check_sandbox().status) == ("ok", "ok")
    assert str(tmp_path) in check_disk().message
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("GPUNODE_ENGINE_GPU", "false")
    assert "told not to" in check_gpu().message
