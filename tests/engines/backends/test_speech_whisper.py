"""The real speech model (whisper-tiny.en) in a real child process."""

import asyncio
import itertools
import os
import signal
import wave
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio
from gpunode_engines.base import Event, Finished, Progress, Segment
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import EngineCrashed, InvalidParameters
from gpunode_engines.media import SpeechRequest
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import SupervisedEngine

from tests.engines.backends.test_audio_files import slow_bomb
from tests.engines.speech_samples import TEXT, spoken, three_times, word_error_rate
from tests.needs import lacking

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SupervisedEngine]:
    """The model, loaded once for all tests of this file."""
    folder = tmp_path_factory.mktemp("engine")
    settings = EngineSettings(models_dir=folder, cache_dir=folder, engine_threads=1)
    started = create_engine(plan_engine(resolve_model("whisper-tiny.en"), settings, detect_machine()), settings)
    await started.start()
    yield started
    await started.stop()


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three sentences, spoken once for all tests."""
    return spoken(TEXT, tmp_path_factory.mktemp("speech") / "speech.wav").read_bytes()


def _request(audio: bytes, **fields: object) -> SpeechRequest:
    values: dict[str, object] = {"job_key": "job", "audio": audio, "max_audio_ms": 600_000} | fields
    return SpeechRequest(**values)  # type: ignore[arg-type]  # -- tests pass fields of the request


async def _run(engine: SupervisedEngine, request: SpeechRequest) -> list[Event]:
    async with aclosing(engine.generate(request)) as events:
        return [event async for event in events]


def _segments(events: list[Event]) -> list[Segment]:
    return [event for event in events if isinstance(event, Segment)]


async def test_speech_becomes_text(engine: SupervisedEngine, speech: bytes) -> None:
    """At least three words of four are right; the segments cover the file to its end, in order."""
    events = await _run(engine, _request(speech))
    segments = _segments(events)
    assert word_error_rate(TEXT, "".join(segment.text for segment in segments)) <= 0.25
    assert all(one.end_ms <= other.start_ms for one, other in itertools.pairwise(segments))
    progress = [event for event in events if isinstance(event, Progress)]
    assert segments[-1].end_ms == progress[-1].total
    assert {segment.language for segment in segments} == {"en"}
    assert events[-1] == Finished(reason="stop", prompt_tokens=0, output_tokens=0)


async def test_words_have_their_times(engine: SupervisedEngine, speech: bytes) -> None:
    """Inside their segment, one after the other."""
    for segment in _segments(await _run(engine, _request(speech, word_timestamps=True))):
        if segment.text:
            assert segment.words
            assert "".join(word.text for word in segment.words) == segment.text
            starts = [word.start_ms for word in segment.words]
            assert starts == sorted(starts)


async def test_a_later_start_keeps_the_times_of_the_file(engine: SupervisedEngine, speech: bytes) -> None:
    """So that a job can go on at another node after its last finished segment."""
    whole = _segments(await _run(engine, _request(speech)))
    start_ms = whole[0].end_ms
    rest = _segments(await _run(engine, _request(speech, start_ms=start_ms)))
    assert rest[0].start_ms >= start_ms
    assert rest[-1].end_ms == whole[-1].end_ms
    said = "".join(segment.text for segment in rest)
    assert word_error_rate("".join(segment.text for segment in whole[1:]), said) <= 0.25


@pytest.fixture(scope="module")
def long_speech(speech: bytes, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Several windows of 30 s."""
    return three_times(speech, tmp_path_factory.mktemp("long"))


async def test_silence_is_told_and_not_invented(engine: SupervisedEngine, tmp_path: Path) -> None:
    """Voice activity detection leaves one segment without text, so that the time is accounted for."""
    path = tmp_path / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 16_000 * 90))
    segments = _segments(await _run(engine, _request(path.read_bytes())))
    assert [(segment.start_ms, segment.end_ms, segment.text) for segment in segments] == [(0, 90_000, "")]


async def _ten_hours(folder: Path) -> bytes:
    """Return silence in a file of a few MiB."""
    path = folder / "silence.flac"
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "36000", str(path)]
    try:
        made = await asyncio.create_subprocess_exec(*command)
    except FileNotFoundError:
        lacking("ffmpeg", "ffmpeg, which makes the file, is not installed")
    assert await made.wait() == 0
    return path.read_bytes()


async def test_ten_hours_of_silence(engine: SupervisedEngine, tmp_path: Path) -> None:
    """A small file that would fill the memory is refused at once, and the engine goes on."""
    ten_hours = await _ten_hours(tmp_path)
    assert len(ten_hours) < 25 * 2**20
    with pytest.raises(InvalidParameters, match="longer than 240 minutes, the most that one job may have"):
        await _run(engine, _request(ten_hours, max_audio_ms=14_400_000))
    assert engine.healthy
    assert engine.restarts == 0


async def test_silence_that_is_longer_than_it_says(engine: SupervisedEngine) -> None:
    """A few KiB that would take gigabytes are refused before they do."""
    before = _status_bytes(engine.pid, "VmHWM")
    with pytest.raises(InvalidParameters, match="longer than 10 minutes"):
        await _run(engine, _request(slow_bomb()))
    assert _status_bytes(engine.pid, "VmHWM") < before + 256 * 1024**2
    assert (engine.active_jobs, engine.restarts) == (0, 0)


@pytest.mark.parametrize("audio", [b"no sound " * 50, b"", b"RIFF"], ids=["text", "empty", "truncated"])
async def test_files_that_are_no_audio(engine: SupervisedEngine, audio: bytes) -> None:
    """The job is refused in words, and the slot is free."""
    with pytest.raises(InvalidParameters, match="wav, mp3, flac"):
        await _run(engine, _request(audio))
    assert engine.active_jobs == 0


async def test_a_file_that_was_cut_off(engine: SupervisedEngine, speech: bytes) -> None:
    """In its header it is refused; later, what is there is written down, and the time is that of what is there."""
    with pytest.raises(InvalidParameters, match="wav, mp3, flac"):
        await _run(engine, _request(speech[:30]))
    events = await _run(engine, _request(speech[: len(speech) // 2]))
    segments = _segments(events)
    half = " ".join(TEXT.split()[: len(TEXT.split()) // 2])
    assert word_error_rate(half, "".join(segment.text for segment in segments)) <= 0.5
    whole_ms = 1_000 * (len(speech) - 44) / (2 * 22_050)
    assert segments[-1].end_ms == pytest.approx(whole_ms / 2, abs=200)
    assert (engine.active_jobs, engine.restarts) == (0, 0)


async def test_what_the_model_cannot_do(engine: SupervisedEngine) -> None:
    """It is known before the file is sent."""
    with pytest.raises(InvalidParameters, match="does not know the language 'de'"):
        await engine.prepare(_request(b"", language="de"))
    with pytest.raises(InvalidParameters, match="English only"):
        await engine.prepare(_request(b"", mode="translate"))
    with pytest.raises(InvalidParameters, match="initial_prompt has 301 tokens; the model reads 223"):
        await engine.prepare(_request(b"", initial_prompt="and " * 301))
    await engine.prepare(_request(b"", initial_prompt="and " * 223))


async def test_a_cancel_at_the_first_segment_ends_the_job(engine: SupervisedEngine, long_speech: bytes) -> None:
    """Segments come while the rest is still to be decoded: what the last window would bring does not come any more.

    A backend that decodes the whole file first has sent everything when the cancel reaches it.
    """
    seen: list[Event] = []
    async with aclosing(engine.generate(_request(long_speech, vad=False))) as events:
        async for event in events:
            seen.append(event)
            if isinstance(event, Segment):
                await engine.cancel("job")
    assert isinstance(seen[0], Progress)
    assert seen[-1] == Finished(reason="cancelled", prompt_tokens=0, output_tokens=0)
    assert _segments(seen)[-1].end_ms < seen[0].total
    assert engine.active_jobs == 0


async def test_memory_is_not_fetched_anew_for_each_window(engine: SupervisedEngine, speech: bytes) -> None:
    """Page faults of one job are few; where each array comes from the kernel, and goes back, they are 60,000."""
    await _run(engine, _request(speech))
    before = _page_faults(engine.pid)
    await _run(engine, _request(speech))
    assert _page_faults(engine.pid) - before < 10_000


@pytest.mark.full
async def test_what_a_long_file_took_is_given_back(engine: SupervisedEngine, speech: bytes, tmp_path: Path) -> None:
    """But for the 256 MiB that are kept for the next window: else the longest file of all would be remembered."""
    await _run(engine, _request(speech))
    before = _status_bytes(engine.pid, "VmRSS")
    with wave.open(str(tmp_path / "silence.wav"), "wb") as file:
        file.setparams((1, 1, 8_000, 0, "NONE", ""))
        file.writeframes(b"\x80" * 8_000 * 60 * 30)
    await _run(engine, _request((tmp_path / "silence.wav").read_bytes(), max_audio_ms=3_600_000))
    await _run(engine, _request(speech))
    kept = 256 * 1024**2
    assert _status_bytes(engine.pid, "VmHWM") > before + kept
    assert _status_bytes(engine.pid, "VmRSS") < before + kept


def _status_bytes(pid: int | None, name: str) -> int:
    """Return a figure of proc(5)'s status, in bytes."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def _page_faults(pid: int | None) -> int:
    """Return those of a process without reading from a disk so far: minflt of proc(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


async def test_speed_is_that_of_audio(engine: SupervisedEngine) -> None:
    """Milliseconds of sound a second."""
    speed = await engine.measure_speed()
    assert speed.decode_tokens_per_s > 0
    assert speed.ttft_s > 0


async def test_a_killed_child_fails_the_job_and_the_next_one_works(engine: SupervisedEngine, speech: bytes) -> None:
    """The cause is told, and another child takes its place."""
    before, pid = engine.restarts, engine.pid
    assert pid is not None
    job = asyncio.create_task(_run(engine, _request(speech)))
    await asyncio.sleep(0)  # the job takes its slot before it first waits
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineCrashed, match="SIGKILL"):
        await job
    await engine.wait_healthy()
    assert engine.restarts == before + 1
    assert _segments(await _run(engine, _request(speech)))
