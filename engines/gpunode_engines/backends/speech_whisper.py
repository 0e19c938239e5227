"""Speech recognition with faster-whisper: CTranslate2 weights, segments as they are decoded, CPU and GPU."""

import importlib.metadata
import threading
from collections.abc import Iterable
from typing import Any

import faster_whisper
from faster_whisper.vad import get_vad_model

from gpunode_engines.backends import Emit
from gpunode_engines.backends.audio_files import SAMPLE_RATE, decode_audio
from gpunode_engines.backends.speech_windows import transcribe_windows
from gpunode_engines.base import Finished, FinishReason, PreparedPrompt, Progress, Segment, Word
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.ipc import Load, Loaded
from gpunode_engines.media import SpeechRequest

_MS_PER_S = 1_000
_TEMPERATURE_STEP = 0.2
"""How the original implementation goes on when an attempt repeats itself or is unlikely (whisper/transcribe.py)."""
_GPU_BATCH = 8
"""Windows decoded at once on a GPU; on CPUs one after the other is as fast and gives its first segment sooner.

Without VAD there are no windows that could be decoded apart, and above temperature 0 the batched mode cannot draw.
"""


class WhisperBackend:
    """Implements ``Backend[SpeechRequest, SpeechRequest]``.

    Args:
        batching: the devices on which windows are decoded together.
    """

    def __init__(self, batching: frozenset[str] = frozenset({"cuda"})) -> None:
        self._batching = batching

    def load(self, order: Load) -> Loaded:
        """Load a converted model from its folder: int8 on CPUs, float16 on GPUs."""
        device = "cuda" if order.options.use_gpu and _has_cuda() else "cpu"
        self._model = faster_whisper.WhisperModel(
            order.root,
            device=device,
            compute_type="float16" if device == "cuda" else "int8",
            cpu_threads=order.options.threads,
            num_workers=order.options.slots,
            local_files_only=True,
        )
        self._batch = _GPU_BATCH >> order.options.saving if device in self._batching else 1
        get_vad_model()  # now, while files can be opened
        return Loaded(
            backend_version=importlib.metadata.version("faster-whisper"),
            context_tokens=0,
            slots=order.options.slots,
            device=device,
            saving=order.options.saving,
        )

    def prepare(self, request: SpeechRequest) -> PreparedPrompt:
        """Check that the model knows the language and the task, and reads the whole initial prompt."""
        languages = self._model.supported_languages
        if request.language is not None and request.language not in languages:
            known = ", ".join(languages) if len(languages) < len("many") else f"{len(languages)} others"
            raise InvalidParameters(f"The model does not know the language {request.language!r}; it knows {known}.")
        if request.mode == "translate" and not self._model.model.is_multilingual:
            raise InvalidParameters("This model knows English only, so there is nothing to translate; choose another.")
        self._check_initial_prompt(request.initial_prompt)
        return PreparedPrompt(token_ids=(), rendered=b"")

    def _check_initial_prompt(self, prompt: str) -> None:
        most = self._model.max_length // 2 - 1  # see WhisperModel.get_prompt: of more, the end is taken
        count = len(self._model.hf_tokenizer.encode(f" {prompt.strip()}", add_special_tokens=False).ids)
        if count > most:
            raise InvalidParameters(f"initial_prompt has {count} tokens; the model reads {most}. Shorten it.")

    def generate(self, request: SpeechRequest, emit: Emit, cancelled: threading.Event) -> None:
        """Decode the file, then give each segment as soon as it is there."""
        self.prepare(request)
        samples = decode_audio(
            request.audio,
            start_ms=request.start_ms,
            max_audio_ms=request.max_audio_ms,
            is_cancelled=cancelled.is_set,
        )
        end_ms = request.start_ms + len(samples) * _MS_PER_S // SAMPLE_RATE
        said_until_ms = request.start_ms
        emit(Progress(step=0, total=max(1, end_ms - request.start_ms)))
        segments, info = self._transcribe(samples, request)
        for segment in segments:
            if cancelled.is_set():
                break
            event = _event(segment, info.language, request, begin_ms=said_until_ms, end_ms=end_ms)
            said_until_ms = event.end_ms
            emit(event)
            emit(Progress(step=said_until_ms - request.start_ms, total=end_ms - request.start_ms))
        if not cancelled.is_set() and said_until_ms < end_ms:
            emit(Segment(start_ms=said_until_ms, end_ms=end_ms, text="", language=info.language))
        reason: FinishReason = "cancelled" if cancelled.is_set() else "stop"
        emit(Finished(reason=reason, prompt_tokens=0, output_tokens=0))

    def _transcribe(self, samples: Any, request: SpeechRequest) -> tuple[Iterable[Any], Any]:
        options: dict[str, Any] = {
            "language": request.language,
            "task": request.mode,
            "temperature": _temperatures(request.temperature),
            "initial_prompt": request.initial_prompt or None,
            "word_timestamps": request.word_timestamps,
            "vad_filter": request.vad,
        }
        if self._batch > 1 and request.vad and not request.temperature:
            return transcribe_windows(self._model, samples, options, self._batch)
        segments, info = self._model.transcribe(samples, **options)
        return segments, info


def _has_cuda() -> bool:
    import ctranslate2  # noqa: PLC0415 -- faster_whisper has loaded it

    return bool(ctranslate2.get_cuda_device_count() > 0)


def _temperatures(lowest: float) -> list[float]:
    """Return what is tried in turn, from ``lowest`` up to 1."""
    count = int((1.0 - lowest) / _TEMPERATURE_STEP + 1e-6) + 1
    return [round(lowest + step * _TEMPERATURE_STEP, 6) for step in range(count)]


def _event(segment: Any, language: str, request: SpeechRequest, *, begin_ms: int, end_ms: int) -> Segment:
    """Return a segment with times in the whole file; they never go back and never beyond the file's end."""

    def at(seconds: float) -> int:
        return min(max(request.start_ms + round(seconds * _MS_PER_S), begin_ms), end_ms)

    words = None
    if segment.words is not None:
        words = tuple(Word(start_ms=at(word.start), end_ms=at(word.end), text=word.word) for word in segment.words)
    start_ms, stop_ms = at(segment.start), at(segment.end)
    return Segment(start_ms=start_ms, end_ms=stop_ms, text=segment.text, language=language, words=words)
