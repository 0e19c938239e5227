"""Which work a request asks for."""

from gpunode_engines.base import EngineInfo
from gpunode_protocol.payloads import EmbeddingParams, ImageParams, LlmParams, SpeechParams
from gpunode_protocol.requests import JobRequest

from gpunode_node.embedding_work import EmbeddingWork
from gpunode_node.image_work import ImageWork
from gpunode_node.llm_work import LlmWork
from gpunode_node.speech_work import SpeechWork
from gpunode_node.work import Work


def work_of(request: JobRequest, info: EngineInfo) -> Work:
    """Return the work of a request for a loaded model.

    Raises:
        JobError: ``unknown_task`` or ``invalid_parameters``.
    """
    match request.read_params():
        case LlmParams() as params:
            return LlmWork(request, params, info)
        case ImageParams() as params:
            return ImageWork(request, params)
        case SpeechParams() as params:
            return SpeechWork(request, params)
        case EmbeddingParams() as params:
            return EmbeddingWork(request, params)
