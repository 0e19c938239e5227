"""The command ``gpunode embed``."""

import json
import struct
from pathlib import Path

import pytest
from gpunode import cli_embed
from gpunode.cli import main
from gpunode.client import InferenceClient
from gpunode_protocol.payloads import EmbeddingParams
from gpunode_protocol.tasks import Task

from tests.sdk.scripted_node import PROMPT_TOKENS, ScriptedNode
from tests.sdk.world import World

MODEL = "all-minilm-l6-v2"


@pytest.fixture(autouse=True)
def _client_of_the_world(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command talks to the network in memory."""

    def of_the_world(*_: object, **__: object) -> InferenceClient:
        return InferenceClient.from_config(world.config(), world.surroundings())

    monkeypatch.setattr(cli_embed, "open_client", of_the_world)


def _add(world: World, *values: float) -> ScriptedNode:
    return world.add_node(model=MODEL, task=Task.EMBEDDING, vectors=struct.pack(f"<{len(values)}f", *values))


def test_a_line_a_text(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the command line first, then those of the file; route and receipt on standard error."""
    node = _add(world, 1.0, 0.0, 0.0, 1.0, 0.5, 0.5)
    file = tmp_path / "texts"
    file.write_text("two\n\n  \nthree\n")
    assert main(["embed", "one", "--file", str(file), "--model", MODEL, "--no-normalize"]) == 0
    told = capsys.readouterr()
    assert [json.loads(line) for line in told.out.splitlines()] == [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    assert "2 dimensions" in told.err
    assert "verified" in told.err
    params = node.jobs[0].request.body.read_params()
    assert isinstance(params, EmbeddingParams)
    assert (params.inputs, params.normalize) == (("one", "two", "three"), False)


def test_json(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """One object with vectors, tokens, route and receipt."""
    _add(world, 1.0, 0.0)
    assert main(["embed", "one", "--model", MODEL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["vectors"], told["tokens"], told["model"]) == ([[1.0, 0.0]], PROMPT_TOKENS, MODEL)
    assert told["receipt"]["verified"]


@pytest.mark.parametrize(
    ("content", "words"), [(None, "there is no file"), (b"\xff\xfe\x00", "no text in UTF-8"), (b"\n \n", "is no text;")]
)
def test_what_is_no_text_is_told_before_anything_is_sent(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    """As a mistake in the command."""
    node = _add(world, 1.0)
    file = tmp_path / "texts"
    if content is not None:
        file.write_bytes(content)
    assert main(["embed", "--file", str(file), "--model", MODEL]) == 2
    assert words in capsys.readouterr().err
    assert not node.requests
