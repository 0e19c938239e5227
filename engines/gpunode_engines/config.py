"""Settings of the engine layer, part of the node's: option > ``GPUNODE_*`` > ``[node]`` in TOML > default."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import platformdirs
from annotated_types import Ge, Le
from gpunode_protocol.settings import LayeredSettings
from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from gpunode_engines.confinement import SandboxMode

_GPU_MEMORY = re.compile(r"|[1-9]\d{0,6}|([1-9]\d?|100)%")


def _mebibytes_or_percent(value: str) -> str:
    if not _GPU_MEMORY.fullmatch(value):
        raise ValueError("must be MiB, such as 6000, or percent of each card, such as 50%")
    return value


PositiveInt = Annotated[int, Ge(1)]


class EngineSettings(LayeredSettings):
    """How models are stored and run.

    models_dir: pulled models and the lock file. models_file: your own models, in the form of the shipped models.toml.
    cache_dir: digests of files seen. model_mirror: URL of a server that
    speaks the hub's protocol, or a folder OWNER/REPO/FILE; empty = the public hub. engine_threads: CPU threads, None =
    physical cores. engine_slots: jobs at once, None = the catalogue's. engine_context_tokens: per job, None = the
    catalogue's. engine_gpu: use a GPU if there is one. engine_backend: which library runs models that have weights for
    several; empty = what suits the machine. engine_memory_limit_bytes: resident memory of an engine.
    idle_unload_s: a model without a job for so long leaves memory, seconds; 0 = it stays until another needs the room.
    max_gpu_memory: what models may take of each card: MiB, or percent with a ``%``; empty = all that is free.
    engine_time_limit_s: wall clock of one job, seconds. sandbox: what an engine does where it cannot be confined fully.
    """

    section: ClassVar[str] = "node"

    model_config = SettingsConfigDict(env_prefix="GPUNODE_", frozen=True, extra="ignore", protected_namespaces=())

    models_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("gpunode") / "models")
    cache_dir: Path = Field(default_factory=lambda: platformdirs.user_cache_path("gpunode"))
    models_file: Path | None = None
    model_mirror: str = ""
    engine_threads: PositiveInt | None = None
    engine_slots: PositiveInt | None = None
    engine_context_tokens: PositiveInt | None = None
    engine_gpu: bool = True
    engine_backend: Literal["", "llamacpp", "transformers"] = ""
    engine_memory_limit_bytes: PositiveInt = 32 * 1024**3
    idle_unload_s: Annotated[float, Ge(0), Le(86_400)] = 0.0
    max_gpu_memory: Annotated[str, AfterValidator(_mebibytes_or_percent)] = ""
    engine_time_limit_s: Annotated[float, Field(gt=0)] = 300.0
    sandbox: SandboxMode = "auto"

    @property
    def private_folders(self) -> tuple[Path, ...]:
        """Folders that no engine may read."""
        return ()
