"""The engines' checks for ``gpunode doctor``: GPU, disk, pulled models, sandbox."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpunode_protocol.diagnosis import Check, Finding, Subject, ok, warning
from gpunode_protocol.folder_check import GIB, judge_folder, look_at_folder

from gpunode_engines.catalogue import HubSource, default_catalogue
from gpunode_engines.config import EngineSettings
from gpunode_engines.confinement import FULL_LEVEL, Confinement
from gpunode_engines.kernel_confinement import KernelConfinement, read_kernel_confinement
from gpunode_engines.limits import EngineLimits
from gpunode_engines.model_files_check import judge_models, look_at_models
from gpunode_engines.own_models import known_models

if TYPE_CHECKING:
    from gpunode_engines.gpu_driver import DriverState


def checks(subject: Subject) -> Sequence[Check]:  # noqa: ARG001 -- the signature of the entry-point group
    """Return the checks; see the entry-point group ``gpunode.checks``."""
    return (
        Check(name="gpu", run=check_gpu, load_settings=_settings, extra="node"),
        Check(name="disk", run=check_disk, load_settings=_settings),
        Check(name="models", run=check_models, load_settings=_settings, deadline_s=60.0),
        Check(name="sandbox", run=check_sandbox, extra="node"),
    )


def check_gpu() -> Finding:
    """Look for NVIDIA cards and their driver."""
    from gpunode_engines.gpu_driver import read_driver_state  # noqa: PLC0415 -- imports psutil, of the extra

    return judge_gpu(read_driver_state(), use_gpu=_settings().engine_gpu)


def judge_gpu(state: "DriverState", *, use_gpu: bool) -> Finding:
    """Judge cards and driver; ``use_gpu``: as the settings say."""
    if not use_gpu:
        return ok("Engines are told not to use a GPU (GPUNODE_ENGINE_GPU).")
    if state.gpus:
        cards = "; ".join(
            f"{gpu.name}, {gpu.free_memory_bytes / GIB:.1f} of {gpu.memory_bytes / GIB:.1f} GiB free"
            for gpu in state.gpus
        )
        return ok(f"NVIDIA driver {state.version}: {cards}.")
    if state.cards:
        why = state.problem or f"driver {state.version} shows no card"
        return warning(
            f"This machine has an NVIDIA card, but its driver does not work ({why}): engines run on the CPU.",
            "Install or reload NVIDIA's driver until 'nvidia-smi' shows the card, then start the node again.",
        )
    return ok("No NVIDIA card: engines run on the CPU.")


def check_disk() -> Finding:
    """Look whether the models' folder takes the smallest model of the catalogue that is downloaded."""
    settings = _settings()
    sizes = [entry.weights_bytes() for entry in default_catalogue().entries if isinstance(entry.source, HubSource)]
    return judge_folder(
        look_at_folder(settings.models_dir),
        needed_bytes=min(sizes, default=0),
        needed_for="the smallest model of the catalogue",
        move_with="GPUNODE_MODELS_DIR",
    )


def check_models() -> Finding:
    """Compare pulled models with what was pulled."""
    settings = _settings()
    names = [entry.name for entry in known_models(settings).entries]
    return judge_models(look_at_models(settings.models_dir, settings.cache_dir), settings.models_dir, names)


def check_sandbox() -> Finding:
    """Confine a process here as engines are."""
    from gpunode_engines.sandbox_probe import (  # noqa: PLC0415 -- imports psutil, of the extra
        probe_memory_cgroup,
        probe_sandbox,
    )

    return judge_sandbox(read_kernel_confinement(), probe_sandbox(), memory_cgroup=probe_memory_cgroup())


def judge_sandbox(kernel: KernelConfinement, confinement: Confinement, *, memory_cgroup: bool) -> Finding:
    """Judge what took effect, beside what the kernel offers; memory_cgroup: the kernel would limit memory."""
    memory = "by a cgroup" if memory_cgroup else "by a look every 2 s, as no cgroup can be made from here"
    active = ", ".join(confinement.active()) or "a process of its own"
    told = f"Sandbox level {confinement.level} of {FULL_LEVEL} for engines: {active}"
    limits = EngineLimits()
    scratch = f"{limits.scratch_bytes >> 20} MiB by a look every {limits.heartbeat_s:g} s"
    memory_told = f" Memory is limited {memory}, the scratch folder to {scratch}."
    if not confinement.lacks():
        unheard = "" if confinement.denials_reported else " Refused system calls are in the kernel's log only."
        return ok(f"{told} (Landlock ABI {kernel.landlock_abi}).{memory_told}{unheard}")
    offers = ", ".join(kernel.offers()) or "nothing"
    return warning(
        f"{told}; not {', not '.join(confinement.lacks())}. This kernel offers: {offers}.{memory_told}",
        "Serve only models that you trust, or use Linux 5.13 or later with Landlock and seccomp, outside of containers "
        "that forbid them. With --sandbox strict the node refuses to start instead.",
    )


def _settings() -> EngineSettings:
    return EngineSettings.load({})
