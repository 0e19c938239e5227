"""Decoding many windows of speech at once, as suits a card; those that went wrong are decoded again, each alone."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import faster_whisper
import numpy
import numpy.typing
from faster_whisper.transcribe import get_compression_ratio
from faster_whisper.vad import VadOptions, get_speech_timestamps

from gpunode_engines.backends.audio_files import SAMPLE_RATE

Samples = numpy.typing.NDArray[numpy.float32]

_SPLIT_SILENCE_MS: Final = 160
"""Speech is split where it pauses for so long, so that windows can be filled: as the library's batched mode does."""
_KEPT_SILENCE_S: Final = 2.0
"""Longer silence ends a window: the library's own default where it decodes one window after the other."""
_MAX_COMPRESSION_RATIO: Final = 2.4
_MIN_MEAN_LOGPROB: Final = -1.0
"""Beyond these, a text repeats itself or is unlikely: the library's own defaults, from whisper/transcribe.py."""


def transcribe_windows(
    model: faster_whisper.WhisperModel, samples: Samples, options: Mapping[str, Any], batch: int
) -> tuple[Iterable[Any], Any]:
    """Return segments, as they are decoded, and what is known of the whole.

    Args:
        model: of this process.
        samples: float32, shape (samples,), mono, 16 kHz.
        options: of ``WhisperModel.transcribe``, with ``vad_filter`` on and all temperatures that may be tried.
        batch: windows at once, >= 1.
    """
    windows = speech_windows(samples, model.feature_extractor.chunk_length)
    if not windows:
        nothing, info = model.transcribe(samples, **options)
        return nothing, info
    first, *others = options["temperature"]
    pipeline: Any = faster_whisper.BatchedInferencePipeline(
        model
    )  # one for each job: it keeps the time of its last word
    segments, info = pipeline.transcribe(
        samples,
        **{
            **options,
            "temperature": first,
            "vad_filter": False,
            "without_timestamps": False,
            "clip_timestamps": [{"start": start / SAMPLE_RATE, "end": end / SAMPLE_RATE} for start, end in windows],
            "batch_size": batch,
        },
    )
    alone = {**options, "temperature": others or [first], "vad_filter": False, "language": info.language}
    return _mended(model, samples, segments, info.transcription_options.clip_timestamps, alone), info


def speech_windows(samples: Samples, longest_s: float) -> list[tuple[int, int]]:
    """Return where there is speech, in stretches of at most ``longest_s``: first sample and the one after the last."""
    vad = VadOptions(max_speech_duration_s=longest_s, min_silence_duration_ms=_SPLIT_SILENCE_MS)
    windows: list[tuple[int, int]] = []
    for span in get_speech_timestamps(samples, vad):
        start, end = int(span["start"]), int(span["end"])
        if windows:
            begun, ended = windows[-1]
            if end - begun <= longest_s * SAMPLE_RATE and start - ended <= _KEPT_SILENCE_S * SAMPLE_RATE:
                windows[-1] = begun, end
                continue
        windows.append((start, end))
    return windows


def went_wrong(segments: Sequence[Any]) -> bool:
    """Whether the text of one window repeats itself or is unlikely."""
    ratio: float = get_compression_ratio("".join(segment.text for segment in segments).strip())
    return ratio > _MAX_COMPRESSION_RATIO or float(segments[0].avg_logprob) < _MIN_MEAN_LOGPROB


def _mended(
    model: faster_whisper.WhisperModel,
    samples: Samples,
    segments: Iterable[Any],
    clips: Sequence[Mapping[str, int]],
    options: Mapping[str, Any],
) -> Iterator[Any]:
    """Yield segments; those of a window that went wrong are replaced. clips: the windows, in samples."""
    by_frame = {_frame_of(model, clip["start"]): clip for clip in clips}
    for frame, group in itertools.groupby(segments, key=lambda segment: segment.seek):
        window = list(group)
        if not went_wrong(window):
            yield from window
            continue
        clip = by_frame[frame]
        again, _ = model.transcribe(samples[clip["start"] : clip["end"]], **options)
        for segment in again:
            yield _later(segment, clip["start"] / SAMPLE_RATE)


def _frame_of(model: faster_whisper.WhisperModel, sample: int) -> int:
    """Return what the library calls ``seek`` of a window."""
    return int(sample / SAMPLE_RATE * model.frames_per_second)


def _later(segment: Any, offset_s: float) -> Any:
    """Return a segment, and its words, with times of the whole file."""
    words = segment.words and [
        dataclasses.replace(word, start=word.start + offset_s, end=word.end + offset_s) for word in segment.words
    ]
    return dataclasses.replace(segment, start=segment.start + offset_s, end=segment.end + offset_s, words=words)
