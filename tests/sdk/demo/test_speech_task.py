"""The demo's transcript; how the demo runs is in test_command."""

import json
from pathlib import Path

import pytest
import typer
from gpunode.cli import main
from gpunode.demo.children import DemoFailed
from gpunode.demo.demo_task import DemoWish
from gpunode.demo.speech_task import DEFAULT_MODEL, SpeechTask
from gpunode_protocol.tasks import Task

from tests.sdk.demo.test_command import folders  # noqa: F401 -- a fixture
from tests.sdk.test_cli_transcribe import SEGMENTS
from tests.sdk.world import World


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """Return a file to be written down."""
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF....")
    return path


@pytest.mark.usefixtures("folders")
def test_json_has_the_chat_s_keys_and_the_transcript(
    world: World, wav: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``text`` and ``segments`` come on top."""
    world.add_node(model=DEFAULT_MODEL, task=Task.WHISPER, segments=SEGMENTS)
    assert main(["demo", "--task", "whisper", "--file", str(wav), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {
        "answer", "model", "nodes", "route", "ttft_ms", "tokens", "tokens_per_s", "receipt", "balances", "text",
        "segments",
    }  # fmt: skip
    assert told["text"] == told["answer"] == "Good morning. How are you?"
    assert (told["tokens"], told["tokens_per_s"]) == (None, None)  # speech is counted in time
    assert len(told["segments"]) == 2
    assert (told["model"], told["receipt"]["verified"], told["receipt"]["in_ledger"]) == (DEFAULT_MODEL, True, True)


@pytest.mark.usefixtures("folders")
def test_for_people_segments_come_first(world: World, wav: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Then the table."""
    world.add_node(model=DEFAULT_MODEL, task=Task.WHISPER, segments=SEGMENTS)
    assert main(["demo", "--task", "whisper", "--file", str(wav)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Good morning.\nHow are you?\n")
    assert "times its speed" in out


def test_what_is_missing_is_said_at_once(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a network is started."""
    task = SpeechTask()
    with pytest.raises(typer.BadParameter, match="--file"):
        task.check(DemoWish(prompt=None, model=DEFAULT_MODEL))
    with pytest.raises(typer.BadParameter, match="there is no file"):
        task.check(DemoWish(prompt=None, model=DEFAULT_MODEL, file=Path("missing.wav")))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DemoFailed, match=r"pip install 'gpunode\[whisper\]'"):
        task.check(DemoWish(prompt=None, model=DEFAULT_MODEL, file=wav))
