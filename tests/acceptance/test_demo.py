"""``gpunode demo``: a whole network for one question, and nothing left of it."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest
from PIL import Image

from tests.acceptance.network import MODEL
from tests.acceptance.processes import clean_environment, wait_gone, wait_until
from tests.engines.speech_samples import TEXT, spoken, word_error_rate

pytestmark = pytest.mark.acceptance

QUESTION = "What is the capital of France?"
STORY = "Tell me a long story about a fox."
DEADLINE_S = 90.0
#: tracker and three nodes
DAEMONS = 4
KEYS: dict[str, set[str]] = {
    "": {"answer", "model", "nodes", "route", "ttft_ms", "tokens", "tokens_per_s", "receipt", "balances"},
    "route": {"node_id", "region", "rtt_ms", "path", "source"},
    "receipt": {"id", "verified", "in_ledger"},
    "balances": {"client", "node"},
}

QUEUE_KEYS: dict[str, set[str]] = {
    "": {"answer", "model", "job_id", "worker", "waited_ms", "tokens", "receipt", "balances"},
    "receipt": {"id", "verified", "in_ledger"},
    "balances": {"client", "worker"},
}

PICTURE = "seven.png"

Demo = tuple[Path, "subprocess.Popen[str]"]
"""A running demo, and the folder for its own folder."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder for the demo's own folder, short enough for sockets below it."""
    path = Path(tempfile.mkdtemp(prefix="gpd-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    (folder / "home").mkdir()
    # a shell starts background jobs with SIGINT ignored, and whatever runs these tests may be one
    return subprocess.Popen(
        [sys.executable, "-m", "gpunode", "demo", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(folder / "home") | {"TMPDIR": str(folder)},
        cwd=folder / "home",
        preexec_fn=_heed_ctrl_c,  # noqa: PLW1509 -- resetting a signal takes no lock
    )


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _assert_nothing_is_left(folder: Path) -> None:
    """No process was started for the demo's folder any more, and nothing lies in it or in the user's folders.

    Daemons name the folder on their command lines; p2pd and the engines only have it in their environment.
    """

    def strangers() -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if _belongs_to(process, folder)]

    wait_until(lambda: not strangers(), "the end of the demo's processes", 5)
    assert [path.name for path in folder.iterdir()] == ["home"]
    assert [path for path in (folder / "home").rglob("*") if path.is_file()] == []


def _belongs_to(process: psutil.Process, folder: Path) -> bool:
    try:
        return any(str(folder) in text for text in (*process.cmdline(), process.environ().get("TMPDIR", "")))
    except (psutil.Error, OSError):
        return False


def test_a_question(folder: Path) -> None:
    """One JSON object with the answer, its route, its verified receipt and both balances."""
    demo = _start(folder, "--json", "--prompt", QUESTION)
    out, err = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 0, err
    facts: dict[str, Any] = json.loads(out)
    assert {name: set(facts[name] if name else facts) for name in KEYS} == KEYS
    assert "Paris" in facts["answer"]
    assert (facts["model"], facts["nodes"], facts["route"]["source"]) == (MODEL, 3, "dht")
    assert (facts["receipt"]["verified"], facts["receipt"]["in_ledger"]) == (True, True)
    assert facts["balances"]["node"] > 0
    assert facts["balances"]["client"] + facts["balances"]["node"] == pytest.approx(1000)
    assert facts["tokens"] > 1
    assert min(facts["ttft_ms"], facts["tokens_per_s"]) > 0
    _assert_nothing_is_left(folder)


def test_a_question_through_the_queue(folder: Path) -> None:
    """One JSON object with the answer, the worker, how long it waited, the verified receipt and both balances."""
    demo = _start(folder, "--pull", "--json", "--prompt", QUESTION)
    out, err = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 0, err
    facts: dict[str, Any] = json.loads(out)
    assert {name: set(facts[name] if name else facts) for name in QUEUE_KEYS} == QUEUE_KEYS
    assert "Paris" in facts["answer"]
    assert (facts["model"], facts["receipt"]["verified"], facts["receipt"]["in_ledger"]) == (MODEL, True, True)
    assert facts["balances"]["worker"] > 0
    assert facts["balances"]["client"] + facts["balances"]["worker"] == pytest.approx(1000)
    assert min(facts["tokens"], facts["waited_ms"]) > 0
    _assert_nothing_is_left(folder)


@pytest.mark.full
def test_ctrl_c_while_the_queue_answers(folder: Path) -> None:
    """No process and no file is left of tracker and pull worker either."""
    demo = _start(folder, "--pull", "--prompt", STORY)
    assert demo.stdout is not None
    try:
        while "runs at worker:" not in (line := demo.stdout.readline()):
            assert line
        assert demo.stdout.read(1)
    finally:
        family = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 130
    assert "Traceback" not in err
    wait_gone(family)
    _assert_nothing_is_left(folder)


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file in which something is said."""
    return spoken(TEXT, tmp_path_factory.mktemp("speech") / "speech.wav")


@pytest.fixture(scope="module")
def media_demos(wav: Path) -> Iterator[dict[str, Demo]]:
    """Start the demos of pictures and speech beside each other: they wait for most of their time, and share nothing."""
    made = {"image_gen": ("--prompt", "a handwritten seven", "--out", PICTURE), "whisper": ("--file", str(wav))}
    with ExitStack() as ending:
        demos = {}
        for task, options in made.items():
            path = Path(tempfile.mkdtemp(prefix="gpd-"))
            ending.callback(shutil.rmtree, path, ignore_errors=True)
            demos[task] = path, _start(path, "--task", task, *options, "--nodes", "1", "--json")
            ending.callback(_end, demos[task][1])
        yield demos


def _end(demo: "subprocess.Popen[str]") -> None:
    """End a demo that nobody waited for, by Ctrl-C, so that it leaves nothing."""
    if demo.poll() is None:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=DEADLINE_S)


def test_a_picture(media_demos: dict[str, Demo]) -> None:
    """The same object with the file's path; the file is a picture that says how it was made."""
    folder, demo = media_demos["image_gen"]
    out = folder / "home" / PICTURE
    told, err = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 0, err
    facts: dict[str, Any] = json.loads(told)
    assert {name: set(facts[name] if name else facts) for name in KEYS} == {**KEYS, "": KEYS[""] | {"output"}}
    assert (facts["output"], facts["model"]) == (str(out), "digits-diffusion")
    assert (facts["receipt"]["verified"], facts["receipt"]["in_ledger"]) == (True, True)
    with Image.open(out) as picture:
        assert (picture.size, json.loads(picture.info["parameters"])["prompt"]) == ((32, 32), "a handwritten seven")
    out.unlink()
    _assert_nothing_is_left(folder)


def test_a_transcript(media_demos: dict[str, Demo]) -> None:
    """The same object with what was said and when; the receipt is in the ledger."""
    folder, demo = media_demos["whisper"]
    told, err = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 0, err
    facts: dict[str, Any] = json.loads(told)
    wanted = {**KEYS, "": KEYS[""] | {"text", "segments"}}
    assert {name: set(facts[name] if name else facts) for name in KEYS} == wanted
    assert word_error_rate(TEXT, facts["text"]) <= 0.25
    ends = [segment["end_s"] for segment in facts["segments"]]
    assert ends == sorted(ends)
    assert ends[-1] > 5
    assert (facts["receipt"]["verified"], facts["receipt"]["in_ledger"]) == (True, True)
    _assert_nothing_is_left(folder)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.full)]
)
def test_an_end_in_the_middle(folder: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM leave no process and no file either."""
    demo = _start(folder, "--json", "--prompt", QUESTION)
    try:
        wait_until(lambda: _daemons(demo) >= DAEMONS, "all of the demo's daemons have started", DEADLINE_S)
    finally:
        family = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
    out, err = demo.communicate(timeout=DEADLINE_S)
    assert (demo.returncode, out) == (code, "")
    assert "Traceback" not in err
    wait_gone(family)
    _assert_nothing_is_left(folder)


def test_a_chat_at_a_terminal(folder: Path) -> None:
    """Without a prompt the demo is a chat: Ctrl-C stops an answer, Ctrl-D leaves, the last answer is accounted for."""
    (folder / "home").mkdir()
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "gpunode", "demo", "--nodes", "1"],
        env=clean_environment(folder / "home") | {"TMPDIR": str(folder), "TERM": "dumb", "COLUMNS": "200"},
        cwd=folder / "home",
        timeout=DEADLINE_S,
        encoding="utf-8",
    )
    try:
        terminal.expect("> ")
        terminal.sendline(QUESTION)
        terminal.expect("receipt [0-9a-f]{64} verified")
        terminal.expect("> ")
        family = psutil.Process(terminal.pid).children(recursive=True)
        terminal.sendline(STORY)
        terminal.expect("a long story about a fox.*[a-z]+ [a-z]+ ")
        terminal.sendintr()
        terminal.expect("stopped")
        terminal.expect("> ")
        terminal.sendeof()
        terminal.expect("verified, in the ledger")
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert (terminal.exitstatus, terminal.signalstatus) == (0, None)
    finally:
        terminal.close(force=True)
    wait_gone(family)
    _assert_nothing_is_left(folder)


@pytest.mark.full
def test_ctrl_c_in_the_middle_of_an_answer(folder: Path) -> None:
    """The first piece is on the terminal when the signal comes."""
    demo = _start(folder, "--prompt", STORY)
    assert demo.stdout is not None
    try:
        assert demo.stdout.readline() == f"> {STORY}\n"
        assert demo.stdout.read(1)
    finally:
        family = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 130
    assert "Traceback" not in err
    wait_gone(family)
    _assert_nothing_is_left(folder)


def _daemons(demo: "subprocess.Popen[str]") -> int:
    """Return how many daemons the demo runs now."""
    lines = [" ".join(child.cmdline()) for child in psutil.Process(demo.pid).children()]
    return sum("gpunode start" in line or "gpunode tracker start" in line for line in lines)
