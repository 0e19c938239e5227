"""Folders of models that somebody tampered with, opened by the real engines in their real children."""

import os
import pickle
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import BackendFailed, EngineStartFailed
from gpunode_engines.media import SpeechRequest
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import ENVIRONMENTS, EnginePlan, SupervisedEngine

from tests.engines.backends.test_llamacpp_server import PLAN
from tests.engines.hostile_backend import PATH, TARGET_VARIABLE
from tests.engines.scripted_engine import CHILD_PATH, ask, collect

RAN = 77
"""With which exit code a process ends that opened one of these pickles."""


class _Trap:
    """A pickle of it ends the process that opens it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (RAN,)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file as the node's key is, readable for the child's user."""
    path = tmp_path / "node" / "identity.key"
    path.parent.mkdir()
    path.write_text("secret seed")
    return path


def _settings(folder: Path) -> EngineSettings:
    return EngineSettings(models_dir=folder, cache_dir=folder, engine_threads=1, engine_gpu=False, sandbox="strict")


def _plan(model: str, folder: Path) -> EnginePlan:
    return plan_engine(resolve_model(model), _settings(folder), detect_machine())


def _copy_of_links(plan: EnginePlan, folder: Path) -> EnginePlan:
    """Return a plan for a folder with links to a model's files: what is listed may lie elsewhere."""
    links = []
    for name in plan.files:
        link = folder / Path(name).relative_to(plan.root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(name)
        links.append(str(link))
    return replace(plan, root=str(folder), files=tuple(links))


@asynccontextmanager
async def _hostile(plan: EnginePlan, backend: str, target: Path) -> AsyncIterator[SupervisedEngine]:
    environment = {**ENVIRONMENTS.get(plan.backend, {}), **CHILD_PATH, TARGET_VARIABLE: str(target)}
    engine = SupervisedEngine(replace(plan, backend=f"{PATH}{backend}"), extra_environment=environment)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.mark.parametrize("name", ["identity.key", "part-00002-of-00002.gguf"], ids=["beside", "link"])
async def test_what_lies_beside_a_gguf_file_stays_unread(
    name: str, smollm2_path: Path, key_file: Path, tmp_path: Path
) -> None:
    """It may lie in anybody's folder, next to the key even; a link does not become readable by a model file's name."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.gguf").symlink_to(smollm2_path)
    (folder / name).symlink_to(key_file) if name.endswith(".gguf") else shutil.copy(key_file, folder / name)
    plan = replace(PLAN, root=str(folder), files=(str(folder / "model.gguf"),))
    async with _hostile(plan, "llamacpp", folder / name) as engine:
        with pytest.raises(BackendFailed, match="PermissionError"):
            await collect(engine, ask("x", stop=("read the key",)))


async def test_a_link_out_of_a_models_folder_is_not_followed(key_file: Path, tmp_path: Path) -> None:
    """The folder may be read, and what a link in it names may not."""
    plan = _copy_of_links(_plan("whisper-tiny.en", tmp_path), tmp_path / "model")
    link = tmp_path / "model" / "notes.json"
    link.symlink_to(key_file)
    request = SpeechRequest(job_key="job", audio=b"", max_audio_ms=60_000, initial_prompt="read the key")
    async with _hostile(plan, "whisper", link) as engine, aclosing(engine.generate(request)) as events:
        with pytest.raises(BackendFailed, match="Permission"):
            await anext(events)
        assert engine.denials == 1


@pytest.mark.parametrize(
    ("model", "weights", "pickled"),
    [
        ("whisper-tiny.en", "model.bin", "model.bin"),
        ("minilm", "model.safetensors", "pytorch_model.bin"),
        pytest.param("minilm", "model.safetensors", "model.safetensors", marks=pytest.mark.full),
        pytest.param(
            "digits",
            "unet/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.bin",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "digits",
            "unet/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            marks=pytest.mark.full,
        ),
    ],
)
async def test_a_pickle_is_never_opened(model: str, weights: str, pickled: str, tmp_path: Path) -> None:
    """In the place of the weights, under its own name or theirs; nothing in the parent has looked at it before."""
    plan = _plan(model, tmp_path)
    root = tmp_path / "model"
    shutil.copytree(plan.root, root)
    (root / weights).unlink()
    (root / pickled).write_bytes(pickle.dumps(_Trap()))
    files = tuple(str(path) for path in root.rglob("*") if path.is_file())
    engine = create_engine(replace(plan, root=str(root), files=files), _settings(tmp_path))
    with pytest.raises(EngineStartFailed, match=r"cannot load|is a pickle") as failed:
        await engine.start()
    assert f"exit code {RAN}" not in str(failed.value)
