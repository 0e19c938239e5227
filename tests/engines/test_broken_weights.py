"""Weights that end the process which loads them, or that it refuses: nobody else notices."""

import shutil
import struct
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.base import Tokens
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import EngineNotReady, EngineStartFailed
from gpunode_engines.gguf import read_gguf_header
from gpunode_engines.plan import plan_engine
from gpunode_engines.supervisor import SupervisedEngine

from tests.engines.backends.test_llamacpp_server import PLAN
from tests.engines.scripted_engine import ask, collect, prepare, running_scripted_engine, text_of

BLOCK_COUNT = b"llama.block_count" + struct.pack("<I", 4)
"""The key and its type (a number of 32 bits) as they stand in the file; the value follows."""
OUTPUT_NORM = struct.pack("<Q", 18) + b"output_norm.weight" + struct.pack("<IQ", 1, 576)
"""An entry of the tensor table: name, dimensions; the type of its numbers follows."""
BFLOAT16 = 30


@pytest.fixture(
    params=[(BLOCK_COUNT, 2**31 - 1), pytest.param((OUTPUT_NORM, BFLOAT16), marks=pytest.mark.full)],
    ids=["layers", "tensor"],
)
def broken(request: pytest.FixtureRequest, smollm2_path: Path, tmp_path: Path) -> Path:
    """The real model's file with one wrong number, at which llama.cpp ends its process by an assertion.

    It claims two thousand million layers, or a type of number that llama.cpp's arithmetic on CPUs lacks here.
    """
    place, number = request.param
    path = tmp_path / "broken.gguf"
    shutil.copyfile(smollm2_path, path)
    with path.open("r+b") as file:
        file.seek(file.read(8 * 1024**2).index(place) + len(place))
        file.write(struct.pack("<I", number))
    return path


async def test_a_crash_while_loading_stays_in_the_child(broken: Path, smollm2_path: Path) -> None:
    """The parent reads the header without harm and learns the cause; another engine's job goes on meanwhile."""
    assert read_gguf_header(broken).architecture == "llama"
    engine = SupervisedEngine(replace(PLAN, root=str(broken.parent), files=(str(broken),)))
    async with running_scripted_engine() as other, aclosing(other.generate(ask("endless"))) as events:
        await anext(events)
        with pytest.raises(EngineStartFailed, match="signal SIG"):
            await engine.start()
        assert engine.pid is None
        with pytest.raises(EngineNotReady):
            await prepare(engine, "hi")
        assert isinstance(await anext(events), Tokens)
        assert (other.healthy, other.restarts) == (True, 0)
        whole = SupervisedEngine(replace(PLAN, root=str(smollm2_path.parent), files=(str(smollm2_path),)))
        await whole.start()
        assert len(text_of(await collect(whole, ask("\x01\x02", max_tokens=3, ignore_eos=True)))) > 0
        await whole.stop()


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        ("whisper-tiny.en", "model.bin"),
        pytest.param("minilm", "model.safetensors", marks=pytest.mark.full),
        pytest.param("digits", "unet/diffusion_pytorch_model.safetensors", marks=pytest.mark.full),
    ],
)
async def test_half_a_file_is_refused(model: str, weights: str, tmp_path: Path) -> None:
    """The message names model and library, and how to tell whether the files are whole."""
    settings = EngineSettings(models_dir=tmp_path, cache_dir=tmp_path, engine_gpu=False)
    plan = plan_engine(resolve_model(model), settings, detect_machine())
    folder = tmp_path / "half"
    shutil.copytree(plan.root, folder)
    with (folder / weights).open("r+b") as file:
        file.truncate((folder / weights).stat().st_size // 2)
    files = tuple(name.replace(plan.root, str(folder)) for name in plan.files)
    with pytest.raises(EngineStartFailed, match=rf"^{plan.backend} cannot load .*'gpunode models verify {plan.model}'"):
        await SupervisedEngine(replace(plan, root=str(folder), files=files)).start()
