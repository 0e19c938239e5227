"""Decoding audio files of strangers: any container that FFmpeg knows, within the length that the job pays for."""

import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy
import numpy.typing
from gpunode_protocol.payloads import MAX_AUDIO_MS

from gpunode_engines.errors import InvalidParameters

SAMPLE_RATE = 16_000
"""Samples a second, mono: what Whisper was trained on (https://github.com/openai/whisper, whisper/audio.py)."""

_MS_PER_S = 1_000
_MS_PER_MINUTE = 60_000
_FULL_SCALE = 32_768.0
_INEXACT_S = 1.0
"""What a container says of its length is an estimate."""

_NOTHING_ELSE = {"protocol_whitelist": "none"}
"""Some containers are lists of addresses, which FFmpeg would open or wait at; not every platform refuses it sockets."""

_MAX_BAD_PACKETS = 100
"""Broken places in a file that are skipped; beyond it the rest is not worth waiting for."""


def decode_audio(
    data: bytes, *, start_ms: int, max_audio_ms: int, is_cancelled: Callable[[], bool] = lambda: False
) -> numpy.typing.NDArray[numpy.float32]:
    """Return the samples from ``start_ms`` on: float32, shape (samples,), mono, 16 kHz, -1 to 1.

    Args:
        data: a whole file.
        start_ms: what lies before it is left out.
        max_audio_ms: how long the rest may be.
        is_cancelled: asked between pieces; what was decoded until then is returned, at least one sample.

    Raises:
        InvalidParameters: no audio file, nothing in it after ``start_ms``, or more than ``max_audio_ms``.
    """
    first = start_ms * SAMPLE_RATE // _MS_PER_S
    most = max_audio_ms * SAMPLE_RATE // _MS_PER_S
    pieces: list[numpy.typing.NDArray[numpy.int16]] = []
    position = kept = 0
    for piece in _decoded(data, (first + most) / SAMPLE_RATE + _INEXACT_S, max_audio_ms):
        rest = piece[max(0, first - position) :]
        position += len(piece)
        kept += len(rest)
        if kept > most:
            raise _too_long(max_audio_ms)
        pieces.append(rest)
        if kept and is_cancelled():
            break
    if not kept:
        raise InvalidParameters(
            f"The audio ends before {start_ms} ms." if position else "The file has no sound in it, or is cut off."
        )
    samples = numpy.concatenate(pieces, dtype=numpy.float32)
    samples /= _FULL_SCALE  # in place: four hours are 920 MB
    return samples


def _too_long(max_audio_ms: int) -> InvalidParameters:
    minutes = f"{max_audio_ms / _MS_PER_MINUTE:.4g} minutes"
    if max_audio_ms >= MAX_AUDIO_MS:
        return InvalidParameters(f"The audio is longer than {minutes}, the most that one job may have; cut the file.")
    return InvalidParameters(
        f"The audio is longer than {minutes}, which were asked for; allow more (up to "
        f"{MAX_AUDIO_MS // _MS_PER_MINUTE}), or cut the file."
    )


def _decoded(data: bytes, most_s: float, max_audio_ms: int) -> Iterator[Any]:
    """Yield pieces of the first audio stream: int16, shape (samples,), mono, 16 kHz.

    A file that says of itself that it is longer than ``most_s`` is refused before anything is decoded, any other one
    before it is brought to 16 kHz: of few samples a second this makes very many.
    """
    try:
        with av.open(io.BytesIO(data), mode="r", metadata_errors="ignore", options=_NOTHING_ELSE) as container:
            if not container.streams.audio:
                raise InvalidParameters("The file has no audio in it; send wav, mp3, flac, ogg, m4a or webm.")
            if container.duration is not None and container.duration / av.time_base > most_s:
                raise _too_long(max_audio_ms)
            for _, alike in itertools.groupby(_within(most_s, _frames(container), max_audio_ms), _form):
                resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
                for frame in itertools.chain(alike, [None]):
                    for resampled in resampler.resample(frame):
                        yield resampled.to_ndarray().reshape(-1)
    except av.FFmpegError as error:
        raise InvalidParameters(
            f"The file cannot be read as audio ({type(error).__name__}); send wav, mp3, flac, ogg, m4a or webm."
        ) from error


def _within(most_s: float, frames: Iterator[Any], max_audio_ms: int) -> Iterator[Any]:
    """Yield frames as long as they are no longer than ``most_s`` together."""
    length_s = 0.0
    for frame in frames:
        length_s += frame.samples / max(1, frame.sample_rate)
        if length_s > most_s:
            raise _too_long(max_audio_ms)
        yield frame


def _form(frame: Any) -> tuple[str, str, int]:
    """Return what a resampler must be made for; it changes where recordings were joined into one stream."""
    return frame.format.name, frame.layout.name, frame.sample_rate


def _frames(container: Any) -> Iterator[Any]:
    """Yield decoded frames; broken packets between good ones are skipped."""
    bad = 0
    for packet in container.demux(audio=0):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            bad += 1
            if bad > _MAX_BAD_PACKETS:
                raise
            continue
        for frame in frames:
            frame.pts = None  # gaps and jumps in time stamps would upset the resampler
            yield frame
