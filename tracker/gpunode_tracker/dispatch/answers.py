"""From what nodes send of a queued job to its result, also where one node began and another one ended it."""

from dataclasses import replace

from gpunode._answer import Answer
from gpunode_protocol.client_job import Completed, JobEvent
from gpunode_protocol.job_results import ResultReader
from gpunode_protocol.jobs_api import JsonObject
from gpunode_protocol.messages import AcceptedFrame
from gpunode_protocol.payloads import EmbeddingParams, ImageParams, LlmParams, Params, SpeechParams, Usage


class AnswerReader:
    """Reads the events of a ``gpunode._job_run.JobRun``.

    Args:
        params: the job's.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        self._reader = ResultReader(params)

    def take(self, event: JobEvent) -> tuple[str, JsonObject] | None:
        """Note an event; return what followers of the job shall hear of it, if anything; see ``ResultReader``."""
        if isinstance(event, AcceptedFrame) and isinstance(self._params, EmbeddingParams):
            self._reader = ResultReader(self._params)  # a second node sends all vectors anew
        return self._reader.take(event)

    def result(self, done: Completed, answer: Answer) -> JsonObject:
        """Return the job's result, with the usage of all nodes together.

        Raises:
            VerificationFailed: the nodes sent what is no result of the task.
        """
        return self._reader.result(replace(done, usage=whole_usage(self._params, done.usage, answer)))


def whole_usage(params: Params, last: Usage, answer: Answer) -> Usage:
    """Return what a job used; last: what the node that ended it states of its own part."""
    units = sum(part.output_units for part in answer.parts)
    match params:
        case LlmParams():
            return last.model_copy(update={"output_tokens": len(answer.ids), "resumed_tokens": 0})
        case ImageParams():
            return last.model_copy(update={"images": len(answer.blobs), "image_units": units})
        case SpeechParams():
            return last.model_copy(update={"audio_ms": units})
        case EmbeddingParams():
            return last
