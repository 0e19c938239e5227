"""Spoken files for the tests, made by espeak-ng, and their likeness to what was said."""

import re
import shutil
import subprocess
import wave
from pathlib import Path

from tests.needs import lacking

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "My favourite colour is green, and I live in a small house near the river.",
    "Please open the window, because it is very warm in this room.",
)
TEXT = " ".join(SENTENCES)


def spoken(text: str, path: Path) -> Path:
    """Speak a text into a WAV file and return it; skips the test where no espeak-ng is installed."""
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        lacking("espeak-ng", "espeak-ng is not installed: apt-get install espeak-ng")
    subprocess.run([espeak, "-v", "en-us", "-s", "140", "-w", str(path), text], check=True, capture_output=True)
    return path


def three_times(speech: bytes, folder: Path) -> bytes:
    """Return a WAV file that says the same thrice, with pauses of 10 s: several windows of 30 s."""
    (folder / "one.wav").write_bytes(speech)
    with wave.open(str(folder / "one.wav")) as source, wave.open(str(folder / "long.wav"), "wb") as out:
        out.setparams(source.getparams())
        frames = source.readframes(source.getnframes())
        pause = bytes(10 * source.getframerate() * source.getsampwidth())
        out.writeframes(pause.join((frames, frames, frames)))
    return (folder / "long.wav").read_bytes()


def word_error_rate(said: str, heard: str) -> float:
    """Return insertions, deletions and replacements of words, per word that was said."""
    wanted, got = _words(said), _words(heard)
    row = list(range(len(got) + 1))
    for index, word in enumerate(wanted, 1):
        before, row[0] = row[0], index
        for place, other in enumerate(got, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != other))
    return row[-1] / len(wanted)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower().replace("colour", "color").replace("favourite", "favorite"))
