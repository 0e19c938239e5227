"""The engines' checks for ``gpunode doctor``: GPU, disk, pulled models, sandbox."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpunode_protocol.diagnosis import Check, Finding, Subject, ok, warning

from gpunode_engines.catalogue import HubSource, default_catalogue
from gpunode_engines.config import EngineSettings
from gpunode_engines.folder_check import GIB, judge_folder, look_at_folder
from gpunode_engines.kernel_confinement import KernelConfinement, read_kernel_confinement
from gpunode_engines.model_files_check import judge_models, look_at_models
from gpunode_engines.sandbox import APPLIED

if TYPE_CHECKING:
    from gpunode_engines.gpu_driver import DriverState


def checks(subject: Subject) -> Sequence[Check]:  # noqa: ARG001 -- the signature of the entry-point group
    """Return the checks; see the entry-point group ``gpunode.checks``."""
    return (
        Check(name="gpu", run=check_gpu, extra="node"),
        Check(name="disk", run=check_disk),
        Check(name="models", run=check_models, deadline_s=60.0),
        Check(name="sandbox", run=check_sandbox),
    )


def check_gpu() -> Finding:
    """Look for NVIDIA cards and their driver."""
    from gpunode_engines.gpu_driver import read_driver_state  # noqa: PLC0415 -- imports psutil, of the extra

    return judge_gpu(read_driver_state(), use_gpu=EngineSettings.load({}).engine_gpu)


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
    settings = EngineSettings.load({})
    sizes = [entry.weights_bytes() for entry in default_catalogue().entries if isinstance(entry.source, HubSource)]
    return judge_folder(
        look_at_folder(settings.models_dir),
        needed_bytes=min(sizes, default=0),
        needed_for="the smallest model of the catalogue",
        move_with="GPUNODE_MODELS_DIR",
    )


def check_models() -> Finding:
    """Compare pulled models with what was pulled."""
    settings = EngineSettings.load({})
    names = [entry.name for entry in default_catalogue().entries]
    return judge_models(look_at_models(settings.models_dir, settings.cache_dir), settings.models_dir, names)


def check_sandbox() -> Finding:
    """Say what confines engines here."""
    return judge_sandbox(read_kernel_confinement(), APPLIED)


def judge_sandbox(kernel: KernelConfinement, applied: Sequence[str]) -> Finding:
    """Judge what is applied to engines (for a person), beside what the kernel offers."""
    if not applied:
        return warning(
            "Engines are only separate processes here, without limits.",
            "Serve only models that you trust, or use Linux.",
        )
    unused = ", ".join(kernel.offers()) or "nothing"
    return ok(f"Active: {', '.join(applied)}. Offered by this kernel, not used yet: {unused}. Serve models you trust.")
