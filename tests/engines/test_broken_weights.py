"""Weights that end the process which loads them: nobody else notices."""

import shutil
import struct
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.base import Tokens
from gpunode_engines.errors import EngineNotReady, EngineStartFailed
from gpunode_engines.gguf import read_gguf_header
from gpunode_engines.supervisor import SupervisedEngine

from tests.engines.backends.test_llamacpp_server import PLAN
from tests.engines.scripted_engine import ask, collect, prepare, running_scripted_engine, text_of

BLOCK_COUNT = b"llama.block_count" + struct.pack("<I", 4)
"""The key and its type (a number of 32 bits) as they stand in the file; the value follows."""


@pytest.fixture
def broken(smollm2_path: Path, tmp_path: Path) -> Path:
    """The real model's file that claims two thousand million layers: llama.cpp ends its process by an assertion."""
    path = tmp_path / "broken.gguf"
    shutil.copyfile(smollm2_path, path)
    with path.open("r+b") as file:
        file.seek(file.read(4096).index(BLOCK_COUNT) + len(BLOCK_COUNT))
        file.write(struct.pack("<I", 2**31 - 1))
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
