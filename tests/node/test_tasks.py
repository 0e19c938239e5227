"""Each task has its work."""

import pytest
from gpunode_node.embedding_work import EmbeddingWork
from gpunode_node.image_work import ImageWork
from gpunode_node.llm_work import LlmWork
from gpunode_node.speech_work import SpeechWork
from gpunode_node.tasks import work_of
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.tasks import Task

from tests.node.test_image_work import PARAMS as IMAGE
from tests.node.test_llm_work import INFO
from tests.node.test_speech_work import REF
from tests.node.world import llm_params, request

CASES = {
    Task.LLM: (llm_params(), LlmWork),
    Task.IMAGE_GEN: (IMAGE, ImageWork),
    Task.WHISPER: ({"audio": REF, "max_audio_ms": 1}, SpeechWork),
    Task.EMBEDDING: ({"inputs": ("a",)}, EmbeddingWork),
}


@pytest.mark.parametrize("task", Task)
def test_every_task(task: Task) -> None:
    """Its parameters are read as what they are."""
    params, kind = CASES[task]
    work = work_of(request(task=task.value, params=params).body, INFO)
    assert type(work) is kind
    assert work.params == request(task=task.value, params=params).body.read_params()


def test_parameters_of_another_task() -> None:
    """They are refused, naming what is wrong."""
    with pytest.raises(JobError) as caught:
        work_of(request(task=Task.IMAGE_GEN.value, params=llm_params()).body, INFO)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
