"""Results of a queued job as REST gives them, read from a node's verified stream."""

import array
import base64
import json
import sys
from typing import Any, Final

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import Completed, JobEvent
from gpunode_protocol.errors import VerificationFailed
from gpunode_protocol.jobs_api import JobEventName, JsonObject
from gpunode_protocol.messages import ProgressFrame, SegmentFrame, TokensFrame, Word
from gpunode_protocol.payloads import EmbeddingParams, ImageParams, LlmParams, Params, SpeechParams

CALLS_MARK: Final = "\x1e"
"""Between an answer's text and its calls of functions, see docs/protocol.md."""
_FLOAT_BYTES: Final = 4
_MS_PER_S: Final = 1_000


class ResultReader:
    """Collects what a node sends of one job.

    Args:
        params: the signed request's.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        self._text: list[str] = []
        self._is_in_calls = False
        self._blobs: list[Blob] = []
        self._segments: list[SegmentFrame] = []
        self._language = ""

    def take(self, event: JobEvent) -> tuple[str, JsonObject] | None:
        """Note an event; return name and data of what followers of the job shall hear of it, if anything."""
        match event:
            case TokensFrame():
                self._text.append(event.text)
                return _tokens(self._shown(event.text))
            case SegmentFrame():
                self._language = event.language or self._language
                if event.text:  # one without text tells how far silence was decoded
                    self._segments.append(event)
                return _tokens(event.text)
            case Blob():
                self._blobs.append(event)
            case ProgressFrame():
                return JobEventName.PROGRESS, {"step": event.step, "total": event.total}
        return None

    def result(self, done: Completed) -> JsonObject:
        """Return the job's result; ``done``: the end, which has verified.

        Raises:
            VerificationFailed: the node sent less than was asked for, or what is no result of the task.
        """
        match self._params:
            case LlmParams():
                return self._answer(self._params, done)
            case ImageParams():
                return self._pictures(self._params, done)
            case SpeechParams():
                return self._transcript(done)
            case EmbeddingParams():
                return self._embeddings(self._params, done)

    def _shown(self, text: str) -> str:
        """Return what a reader shall see of new text: calls of functions are no text."""
        if self._is_in_calls or not isinstance(self._params, LlmParams) or self._params.tools is None:
            return "" if self._is_in_calls else text
        content, mark, _ = text.partition(CALLS_MARK)
        self._is_in_calls = bool(mark)
        return content

    def _answer(self, params: LlmParams, done: Completed) -> JsonObject:
        text, calls = "".join(self._text), None
        if params.tools is not None and done.finish_reason == "tool_calls":
            text, calls = _split_calls(text)
        usage = {"prompt_tokens": done.usage.input_tokens, "completion_tokens": done.usage.output_tokens}
        result: JsonObject = {"response": text, "finish_reason": done.finish_reason, "usage": usage}
        return result if calls is None else result | {"tool_calls": calls}

    def _pictures(self, params: ImageParams, done: Completed) -> JsonObject:
        if len(self._blobs) < params.n and done.finish_reason != "cancelled":
            raise VerificationFailed(f"The node drew {len(self._blobs)} of {params.n} pictures.", fault="bad_output")
        pictures = [
            {"data": base64.b64encode(blob.data).decode(), "media_type": blob.media_type} for blob in self._blobs
        ]
        return {"images": pictures, "usage": {"images": done.usage.images, "image_units": done.usage.image_units}}

    def _transcript(self, done: Completed) -> JsonObject:
        return {
            "text": "".join(segment.text for segment in self._segments).strip(),
            "language": self._language,
            "segments": [_segment(frame) for frame in self._segments],
            "usage": {"audio_ms": done.usage.audio_ms},
        }

    def _embeddings(self, params: EmbeddingParams, done: Completed) -> JsonObject:
        data = self._blobs[-1].data if self._blobs else b""  # the last: after a node that failed, another begins anew
        count = len(params.inputs)
        if not data or len(data) % (_FLOAT_BYTES * count):
            raise VerificationFailed(
                f"The node sent {len(data)} bytes, which are no {count} vectors.", fault="bad_output"
            )
        values = array.array("f", data)
        if sys.byteorder == "big":
            values.byteswap()
        size = len(values) // count
        vectors = [list(values[start : start + size]) for start in range(0, len(values), size)]
        return {"embeddings": vectors, "usage": {"prompt_tokens": done.usage.input_tokens}}


def _tokens(text: str) -> tuple[str, JsonObject] | None:
    return (JobEventName.TOKENS, {"text": text}) if text else None


def _split_calls(text: str) -> tuple[str, list[Any]]:
    """Return the text of an answer with calls, and the calls. Raises VerificationFailed."""
    content, _, calls_text = text.partition(CALLS_MARK)
    try:
        calls = json.loads(calls_text)
    except (ValueError, RecursionError):
        calls = None
    if not isinstance(calls, list) or not calls or not all(isinstance(call, dict) for call in calls):
        raise VerificationFailed("The node's calls of functions cannot be read.", fault="bad_output")
    return content, calls


def _segment(frame: SegmentFrame) -> JsonObject:
    segment: JsonObject = _times(frame)
    if frame.words is not None:
        segment["words"] = [_times(word) for word in frame.words]
    return segment


def _times(piece: SegmentFrame | Word) -> JsonObject:
    """Return a text with its times in seconds."""
    return {"start": piece.start_ms / _MS_PER_S, "end": piece.end_ms / _MS_PER_S, "text": piece.text}
