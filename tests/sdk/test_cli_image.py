"""The command ``gpunode image``."""

import json
from pathlib import Path

import pytest
from gpunode import cli_image
from gpunode.cli import main
from gpunode.client import InferenceClient
from gpunode_protocol.payloads import ImageParams
from gpunode_protocol.tasks import Task

from tests.sdk.world import World

MODEL = "digits-diffusion"


@pytest.fixture(autouse=True)
def _client_of_the_world(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command talks to the network in memory."""

    def open_client(*_: object, **__: object) -> InferenceClient:
        return InferenceClient.from_config(world.config(), world.surroundings())

    monkeypatch.setattr(cli_image, "open_client", open_client)


def test_a_picture_in_a_file(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its path goes to standard output, route and receipt to standard error."""
    node = world.add_node(model=MODEL, task=Task.IMAGE_GEN, pictures=(b"RIFF picture",))
    out = tmp_path / "seven.webp"
    arguments = ["--model", MODEL, "--size", "64x32", "--steps", "5", "--guidance", "2.5", "--seed", "9"]
    assert main(["image", "a seven", "--out", str(out), *arguments, "--negative-prompt", "four"]) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}\n"
    assert "seed 9" in told.err
    assert "verified" in told.err
    assert out.read_bytes() == b"RIFF picture"
    params = node.jobs[0].request.body.read_params()
    assert isinstance(params, ImageParams)
    assert (params.prompt, params.negative_prompt, params.width, params.height) == ("a seven", "four", 64, 32)
    assert (params.steps, params.guidance_millionths, params.seed, params.format) == (5, 2_500_000, 9, "webp")


def test_previews_on_the_way(world: World, tmp_path: Path) -> None:
    """The newest one lies beside the picture; without the option there is none."""
    node = world.add_node(model=MODEL, task=Task.IMAGE_GEN, pictures=(b"\x89PNG picture",))
    out = tmp_path / "seven.png"
    assert main(["image", "a seven", "--out", str(out), "--model", MODEL]) == 0
    assert list(tmp_path.glob("seven*")) == [out]
    assert main(["image", "a seven", "--out", str(out), "--model", MODEL, "--preview-every", "2"]) == 0
    assert (tmp_path / "seven.preview.jpg").read_bytes() == b"\x89PNG"
    params = node.jobs[1].request.body.read_params()
    assert isinstance(params, ImageParams)
    assert params.preview_every_steps == 2


def test_json_names_all_files(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with a path for each picture."""
    world.add_node(model=MODEL, task=Task.IMAGE_GEN, pictures=(b"one", b"two"))
    out = str(tmp_path / "a.png")
    assert main(["image", "digits", "--out", out, "--model", MODEL, "--n", "2", "--seed", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["outputs"] == [str(tmp_path / "a-1.png"), str(tmp_path / "a-2.png")]
    assert (told["seed"], told["usage"]["images"], told["model"]) == (3, 2, MODEL)
    assert told["receipt"]["verified"] is True


@pytest.mark.parametrize(
    ("out", "said"), [("seven.gif", "ends in none of .png, .jpg"), ("no/such/folder/seven.png", "there is no folder")]
)
def test_a_file_that_could_not_be_written(
    world: World, out: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said before anything is drawn and paid for."""
    node = world.add_node(model=MODEL, task=Task.IMAGE_GEN, pictures=(b"one",))
    assert main(["image", "a seven", "--out", out, "--model", MODEL]) == 2
    assert said in capsys.readouterr().err
    assert not node.requests


@pytest.mark.parametrize("option", ["--image", "--mask"])
def test_a_picture_that_cannot_be_read(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said before the network is asked for anything."""
    monkeypatch.setattr(world, "surroundings", None)
    missing = tmp_path / "missing.png"
    assert main(["image", "a seven", "--out", str(tmp_path / "a.png"), option, str(missing)]) == 2
    assert f"there is no file {missing}" in "".join(capsys.readouterr().err.split("\n"))


def test_a_wrong_number(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says which and why."""
    world.add_node(model=MODEL, task=Task.IMAGE_GEN, pictures=(b"one",))
    assert main(["image", "a seven", "--out", str(tmp_path / "a.png"), "--model", MODEL, "--guidance", "nan"]) == 1
    assert "guidance must be a number" in capsys.readouterr().err
