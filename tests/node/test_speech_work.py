"""A speech job through the whole node."""

from pathlib import Path

from gpunode_engines.base import Event, Finished, Progress, Segment, Word
from gpunode_engines.media import SpeechRequest
from gpunode_node.speech_work import SpeechWork
from gpunode_protocol.blobs import Blob
from gpunode_protocol.messages import SegmentFrame
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.payloads import SpeechParams, Usage
from gpunode_protocol.tasks import Task

from tests.node.fake_media_engine import FakeMediaEngine
from tests.node.job_client import JobClient
from tests.node.world import request, running_node

AUDIO = Blob(id=1, media_type="audio/wav", data=b"RIFF" * 100)
REF = {
    "id": 1,
    "size_bytes": len(AUDIO.data),
    "digest": blob_digest(b"s" * 32, AUDIO.data),
    "media_type": AUDIO.media_type,
}
WORDS = (Word(start_ms=0, end_ms=400, text=" Good"), Word(start_ms=400, end_ms=900, text=" morning."))
EVENTS: tuple[Event, ...] = (
    Segment(start_ms=0, end_ms=900, text=" Good morning.", language="en", words=WORDS),
    Progress(step=900, total=2_000),
    Segment(start_ms=900, end_ms=2_000, text=""),
    Finished(reason="stop", prompt_tokens=0, output_tokens=0),
)


async def test_audio_in_segments_out(tmp_path: Path) -> None:
    """Segments stream with language and words; audio is billed to its end, silence included."""
    engine = FakeMediaEngine(Task.WHISPER, EVENTS)
    params = {"audio": REF, "max_audio_ms": 5_000, "word_timestamps": True, "language": "en", "vad": False}
    async with running_node(tmp_path, engine) as node:
        signed = request(task=Task.WHISPER.value, params=params)
        client = await JobClient(node.connect(), signed, inputs=(AUDIO,)).run()
        assert client.completed.usage == Usage(audio_ms=2_000)
    first, last = [event for event in client.events if isinstance(event, SegmentFrame)]
    assert (first.text, first.language, first.words and first.words[1].end_ms) == (" Good morning.", "en", 900)
    assert (last.text, last.end_ms, last.words) == ("", 2_000, None)
    (order,) = engine.asked
    assert isinstance(order, SpeechRequest)
    assert (order.audio, order.max_audio_ms, order.word_timestamps, order.vad) == (AUDIO.data, 5_000, True, False)


def test_the_time_limit_grows_with_the_audio() -> None:
    """120 s and the length of the audio."""
    params = SpeechParams.from_map({"audio": REF, "max_audio_ms": 60_000})
    body = request(task=Task.WHISPER.value, params={"audio": REF, "max_audio_ms": 60_000}).body
    assert SpeechWork(body, params).time_limit_s(1.0) == 180.0
