"""Models of many languages, with a stand-in for one: the packaged model, which the other tests load, knows English."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from gpunode_engines.backends import speech_whisper
from gpunode_engines.backends.speech_whisper import WhisperBackend
from gpunode_engines.base import Event, Segment
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.media import SpeechRequest

from tests.engines.backends.test_audio_files import tone
from tests.engines.test_session import ORDER


@dataclass
class _HearsFrench:
    """Has what the backend uses of faster-whisper's model; whatever it is given is French."""

    asked: dict[str, Any] = field(default_factory=dict)
    supported_languages = ("de", "en", "fr", "it", "ja")
    max_length = 448
    model = SimpleNamespace(is_multilingual=True)
    hf_tokenizer = SimpleNamespace(encode=lambda text, **_: SimpleNamespace(ids=text.split()))

    def transcribe(self, _: object, **options: Any) -> tuple[Iterator[SimpleNamespace], SimpleNamespace]:
        self.asked = options
        said = SimpleNamespace(start=0.0, end=1.5, text=" Bonjour.", words=None)
        return iter((said,)), SimpleNamespace(language=options["language"] or "fr")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> _HearsFrench:
    """What the backend loads."""
    model = _HearsFrench()
    monkeypatch.setattr(speech_whisper.faster_whisper, "WhisperModel", lambda *_, **__: model)
    return model


def _run(**fields: Any) -> list[Segment]:
    backend, events = WhisperBackend(), list[Event]()
    backend.load(ORDER)
    request = SpeechRequest(job_key="job", audio=tone(), max_audio_ms=10_000, **fields)
    backend.prepare(request)
    backend.generate(request, events.append, threading.Event())
    return [event for event in events if isinstance(event, Segment)]


def test_a_language_that_nobody_named_is_heard_and_told(model: _HearsFrench) -> None:
    """With each segment, also that of the silence at the end."""
    assert [segment.language for segment in _run()] == ["fr", "fr"]
    assert (model.asked["language"], model.asked["task"]) == (None, "transcribe")


def test_a_translation_is_asked_for(model: _HearsFrench) -> None:
    """The language stays that of the speech."""
    assert [segment.language for segment in _run(mode="translate")] == ["fr", "fr"]
    assert model.asked["task"] == "translate"
    _run(mode="translate", language="de", initial_prompt="Ada")
    assert (model.asked["language"], model.asked["initial_prompt"]) == ("de", "Ada")


def test_a_language_that_the_model_does_not_know(model: _HearsFrench) -> None:
    """It is refused, and nothing is decoded."""
    with pytest.raises(InvalidParameters, match="does not know the language 'tlh'; it knows 5 others"):
        _run(language="tlh")
    assert not model.asked
