"""The command ``gpunode transcribe``."""

import json
from pathlib import Path

import pytest
from gpunode import cli_transcribe
from gpunode.cli import main
from gpunode.cli_options import open_client
from gpunode.client import InferenceClient
from gpunode_protocol.messages import SegmentFrame, Word
from gpunode_protocol.payloads import SpeechParams
from gpunode_protocol.tasks import Task

from tests.sdk.world import World

MODEL = "whisper-tiny.en"
SEGMENTS = (
    SegmentFrame(
        start_ms=0,
        end_ms=900,
        text=" Good morning.",
        language="en",
        words=(Word(start_ms=0, end_ms=400, text=" Good"), Word(start_ms=400, end_ms=900, text=" morning.")),
    ),
    SegmentFrame(start_ms=900, end_ms=2_000, text=" How are you?", language="en"),
    SegmentFrame(start_ms=2_000, end_ms=2_500, text=""),
)


@pytest.fixture(autouse=True)
def _client_of_the_world(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command talks to the network in memory."""

    def of_the_world(*_: object, **__: object) -> InferenceClient:
        return InferenceClient.from_config(world.config(), world.surroundings())

    monkeypatch.setattr(cli_transcribe, "open_client", of_the_world)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """Return a file larger than one piece of a blob."""
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF" + bytes(300_000))
    return path


def test_text_as_it_comes_and_subtitles(
    world: World, wav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a segment on standard output, route and receipt on standard error, and a file."""
    node = world.add_node(model=MODEL, task=Task.WHISPER, segments=SEGMENTS)
    out = tmp_path / "speech.srt"
    arguments = ["--model", MODEL, "--out", str(out), "--language", "en", "--words", "--max-minutes", "2"]
    arguments += ["--initial-prompt", "Ada", "--no-vad", "--temperature", "0.4"]
    assert main(["transcribe", str(wav), *arguments]) == 0
    told = capsys.readouterr()
    assert told.out == "Good morning.\nHow are you?\n"
    assert "2.5 s of audio" in told.err
    assert "verified" in told.err
    assert out.read_text().startswith("1\n00:00:00,000 --> 00:00:00,900\nGood morning.\n")
    params = node.jobs[0].request.body.read_params()
    assert isinstance(params, SpeechParams)
    assert (params.language, params.word_timestamps, params.initial_prompt) == ("en", True, "Ada")
    assert (params.vad, params.temperature_millionths) == (False, 400_000)
    assert (params.max_audio_ms, params.audio.size_bytes) == (120_000, 300_004)


def test_json(world: World, wav: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object with text, language, segments and their words; silence is left out unless ``--no-vad`` is given."""
    node = world.add_node(model=MODEL, task=Task.WHISPER, segments=SEGMENTS)
    assert main(["transcribe", str(wav), "--model", MODEL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["text"], told["language"], told["duration_s"]) == ("Good morning. How are you?", "en", 2.5)
    assert [segment["text"] for segment in told["segments"]] == ["Good morning.", "How are you?"]
    assert told["segments"][0]["words"][1] == {"start_s": 0.4, "end_s": 0.9, "word": "morning."}
    assert (told["receipt"]["verified"], told["model"]) == (True, MODEL)
    params = node.jobs[0].request.body.read_params()
    assert isinstance(params, SpeechParams)
    assert params.vad


@pytest.mark.parametrize(("name", "kind"), [("a.vtt", "WEBVTT"), ("a.json", "{"), ("a.txt", "Good morning. How")])
def test_files_of_all_kinds(world: World, wav: Path, tmp_path: Path, name: str, kind: str) -> None:
    """The suffix decides."""
    world.add_node(model=MODEL, task=Task.WHISPER, segments=SEGMENTS)
    assert main(["transcribe", str(wav), "--model", MODEL, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text().startswith(kind)


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("text", "Good morning. How are you?\n"),
        ("json", '{\n "text": "Good morning. How are you?"\n}\n'),
        ("verbose_json", '{\n "text": "Good morning. How are you?",\n "language": "en",\n "duration_s": 2.5,\n "seg'),
        ("srt", "1\n00:00:00,000 --> 00:00:00,900\nGood morning.\n\n2\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:00.900\nGood morning.\n"),
    ],
)
def test_a_form_that_is_asked_for(
    world: World, wav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, kind: str
) -> None:
    """It is printed, or with ``--out`` goes there, whatever the file is called."""
    world.add_node(model=MODEL, task=Task.WHISPER, segments=SEGMENTS)
    command = ["transcribe", str(wav), "--model", MODEL, "--format", form]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(kind)
    assert main([*command, "--out", str(tmp_path / "a.srt")]) == 0
    assert (tmp_path / "a.srt").read_text() == printed
    assert capsys.readouterr().out == "Good morning.\nHow are you?\n"


def test_a_missing_file_is_told_before_the_tracker_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever mistypes a name need not first set up an account to learn so."""
    monkeypatch.setattr(cli_transcribe, "open_client", open_client)
    assert main(["transcribe", str(tmp_path / "missing.wav")]) == 2
    assert "missing.wav" in capsys.readouterr().err


def test_what_could_not_be_written_or_read(
    world: World, wav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said before anything is paid for."""
    node = world.add_node(model=MODEL, task=Task.WHISPER, segments=SEGMENTS)
    assert main(["transcribe", str(wav), "--model", MODEL, "--out", "no/such/folder/a.srt"]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert main(["transcribe", str(tmp_path / "missing.wav"), "--model", MODEL]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert not node.requests
