"""The demo's picture; how the demo runs is in test_command."""

import json
from pathlib import Path

import pytest
from gpunode.cli import main
from gpunode.demo.children import DemoFailed
from gpunode.demo.demo_task import DemoWish
from gpunode.demo.image_task import DEFAULT_MODEL, ImageTask
from gpunode_protocol.tasks import Task

from tests.sdk.demo.test_command import folders  # noqa: F401 -- a fixture
from tests.sdk.world import World


@pytest.mark.usefixtures("folders")
def test_json_has_the_chat_s_keys_and_the_file(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``output`` is the path of what was drawn."""
    world.add_node(model=DEFAULT_MODEL, task=Task.IMAGE_GEN, pictures=(b"picture",))
    out = tmp_path / "seven.png"
    assert main(["demo", "--task", "image_gen", "--prompt", "a handwritten seven", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {
        "answer", "model", "nodes", "output", "route", "ttft_ms", "tokens", "tokens_per_s", "receipt", "balances"
    }  # fmt: skip
    assert (told["answer"], told["tokens"], told["tokens_per_s"]) == (None, None, None)  # a picture is no text
    assert (told["output"], out.read_bytes()) == (str(out), b"picture")
    assert (told["model"], told["receipt"]["verified"], told["receipt"]["in_ledger"]) == (DEFAULT_MODEL, True, True)


@pytest.mark.usefixtures("folders")
def test_for_people_the_file_is_named(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the table."""
    world.add_node(model=DEFAULT_MODEL, task=Task.IMAGE_GEN, pictures=(b"picture",))
    assert main(["demo", "--task", "image_gen", "--out", str(tmp_path / "s.png")]) == 0
    out = capsys.readouterr().out
    assert "> a handwritten seven" in out
    assert "7 bytes" in out


def test_what_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a network is started."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DemoFailed, match=r"pip install 'gpunode\[diffusers\]'"):
        ImageTask().check(DemoWish(prompt=None, model=DEFAULT_MODEL, out=Path("seven.png")))
