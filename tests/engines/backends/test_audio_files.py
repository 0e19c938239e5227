"""Audio of strangers, decoded within limits."""

import io
import math
import shutil
import subprocess
import wave
from pathlib import Path

import av
import numpy
import pytest
from gpunode_engines.backends.audio_files import SAMPLE_RATE, decode_audio
from gpunode_engines.errors import InvalidParameters
from gpunode_protocol.payloads import MAX_AUDIO_MS

from tests.needs import lacking

SECONDS = 2
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)


def tone(seconds: float = SECONDS, rate: int = 44_100, channels: int = 2) -> bytes:
    """Return a tone of 440 Hz."""
    buffer = io.BytesIO()
    times = numpy.arange(int(seconds * rate)) / rate
    samples = (numpy.sin(2 * math.pi * 440 * times) * 20_000).astype("<i2")
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(numpy.repeat(samples, channels).tobytes())
    return buffer.getvalue()


def test_samples_are_mono_at_16_khz() -> None:
    """Whatever rate and channels the file has."""
    samples = decode_audio(tone(), start_ms=0, max_audio_ms=10_000)
    assert samples.dtype == numpy.float32
    assert len(samples) == pytest.approx(SECONDS * SAMPLE_RATE, abs=200)
    assert 0.5 < float(numpy.abs(samples).max()) < 0.7
    spectrum = numpy.abs(numpy.fft.rfft(samples))
    assert int(spectrum.argmax()) * SAMPLE_RATE / len(samples) == pytest.approx(440, abs=2)


def test_it_begins_where_it_is_told() -> None:
    """What lies before is left out, and does not count."""
    samples = decode_audio(tone(), start_ms=1_500, max_audio_ms=600)
    assert len(samples) == pytest.approx(0.5 * SAMPLE_RATE, abs=200)


@pytest.mark.parametrize("kind", ["mp3", "flac", "ogg", "m4a", "webm"])
def test_other_containers(tmp_path: Path, kind: str) -> None:
    """All that clients are told they may send."""
    samples = decode_audio(_encoded(tone(), tmp_path / f"tone.{kind}"), start_ms=0, max_audio_ms=10_000)
    assert len(samples) == pytest.approx(SECONDS * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)


def test_recordings_joined_into_one_file(tmp_path: Path) -> None:
    """Rate and channels may change in the middle of a stream."""
    first = _encoded(tone(), tmp_path / "one.mp3")
    second = _encoded(tone(rate=22_050, channels=1), tmp_path / "other.mp3")
    samples = decode_audio(first + second, start_ms=0, max_audio_ms=10_000)
    assert len(samples) == pytest.approx(2 * SECONDS * SAMPLE_RATE, abs=0.2 * SAMPLE_RATE)


def _encoded(wav: bytes, path: Path) -> bytes:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        lacking("ffmpeg", "ffmpeg, which makes the file, is not installed")
    subprocess.run([ffmpeg, "-loglevel", "error", "-i", "-", str(path)], input=wav, check=True)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"This is a text, not a sound.\n" * 100, "cannot be read as audio"),
        (b"", "cannot be read as audio"),
        (tone()[:30], "cannot be read as audio"),
        (tone(seconds=0), "no sound in it"),
        (PICTURE, "no audio in it"),
    ],
    ids=["text", "empty", "header cut", "no samples", "picture"],
)
def test_what_is_no_audio(data: bytes, said: str) -> None:
    """It is told in plain words."""
    with pytest.raises(InvalidParameters, match=said):
        decode_audio(data, start_ms=0, max_audio_ms=10_000)


def test_a_file_of_addresses_is_not_followed() -> None:
    """FFmpeg would listen where it says and run into a TimeoutError, wherever the sandbox does not refuse sockets."""
    session = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
    with pytest.raises(InvalidParameters, match=r"cannot be read as audio \(InvalidDataError"):
        decode_audio(session, start_ms=0, max_audio_ms=10_000)


def test_a_cut_off_file_gives_what_is_there() -> None:
    """A download that broke off is still worth something."""
    whole = tone()
    samples = decode_audio(whole[: len(whole) // 2], start_ms=0, max_audio_ms=10_000)
    assert len(samples) == pytest.approx(SECONDS * SAMPLE_RATE / 2, abs=0.1 * SAMPLE_RATE)


def test_more_than_is_paid_for() -> None:
    """Nothing is cut silently, and decoding stops as soon as it is known."""
    with pytest.raises(
        InvalidParameters, match=r"longer than 0\.008333 minutes, which were asked for; allow more \(up to 240"
    ):
        decode_audio(tone(), start_ms=0, max_audio_ms=500)
    with pytest.raises(InvalidParameters, match=r"longer than 0\.01667 minutes"):
        decode_audio(tone(), start_ms=900, max_audio_ms=1_000)


def slow_bomb() -> bytes:
    """Return a FLAC file of 8 KiB: three days of silence at one sample a second, whose length its header leaves out."""
    file, block = io.BytesIO(), 65_535
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=1, layout="mono", options={"frame_size": str(block)})
        frame = av.AudioFrame.from_ndarray(numpy.zeros((1, 4 * block), numpy.int16), format="s16", layout="mono")
        frame.sample_rate = 1
        container.mux([*stream.encode(frame), *stream.encode(None)])
    data = bytearray(file.getvalue())
    data[21] &= 0xF0  # 36 bits: the number of samples (RFC 9639, section 8.2)
    data[22:26] = bytes(4)
    return bytes(data)


def test_a_small_file_does_not_become_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a piece is, is known before it is brought to 16 kHz, where it would take 2 GiB."""

    def refused(*_: object, **__: object) -> None:
        pytest.fail("the piece was brought to 16 kHz")

    data = slow_bomb()
    assert len(data) < 10_000
    monkeypatch.setattr(av.AudioResampler, "resample", refused)
    with pytest.raises(InvalidParameters, match="longer than 240 minutes"):
        decode_audio(data, start_ms=0, max_audio_ms=MAX_AUDIO_MS)


def test_a_cancel_ends_the_decoding() -> None:
    """With what is there by then."""
    samples = decode_audio(tone(seconds=60), start_ms=0, max_audio_ms=60_000, is_cancelled=lambda: True)
    assert 0 < len(samples) < 10 * SAMPLE_RATE


def test_a_start_beyond_the_end() -> None:
    """There is nothing to write down."""
    with pytest.raises(InvalidParameters, match="ends before 5000 ms"):
        decode_audio(tone(), start_ms=5_000, max_audio_ms=1_000)
