"""The result of a job that one node or several nodes have done."""

import array
from typing import Any

from gpunode._answer import Answer
from gpunode._job_cost import JobCost
from gpunode._job_requests import Job
from gpunode.types import RouteSegment
from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import Completed, JobEvent
from gpunode_protocol.messages import AcceptedFrame, SegmentFrame, TokensFrame
from gpunode_protocol.payloads import ChatMessage, EmbeddingParams, ImageParams, LlmParams, Params, SpeechParams, Usage
from gpunode_protocol.tasks import Task
from gpunode_tracker.dispatch.answers import AnswerReader

ACCEPTED = AcceptedFrame(prompt_tokens=7, position=0, eta_s=0.0, fingerprint=bytes(32), prompt_digest=bytes(32))
CHAT = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=10)
NOTHING: Any = None


def read(task: Task, params: Params, *parts: list[JobEvent], last: Usage) -> dict[str, Any]:
    """Return the result of what some nodes sent, one after the other; last: the usage of the last one's own part."""
    job = Job("j", task, params, cost=JobCost(Task.LLM), ends_at=0.0, deadline_at=0, salt=bytes(32))
    answer, reader = Answer(job), AnswerReader(params)
    units = {Task.LLM: 2, Task.WHISPER: 1_000, Task.IMAGE_GEN: 20}
    for number, events in enumerate(parts):
        for event in events:
            new = answer.take(event)
            if new is not None:
                reader.take(new)
        answer.parts.append(RouteSegment(f"node {number}", "asia", units.get(task, 0), "done"))
        answer.next_order()
    return reader.result(Completed(last, "stop", NOTHING, NOTHING), answer)


def test_tokens_of_all_nodes_are_counted() -> None:
    """The prompt is read twice and billed once, with the ids that the second node read too."""
    parts: list[list[JobEvent]] = [
        [ACCEPTED, TokensFrame(ids=(1, 2), text="Paris is")],
        [ACCEPTED, TokensFrame(ids=(3, 4), text=" the capital.")],
    ]
    result = read(Task.LLM, CHAT, *parts, last=Usage(input_tokens=7, output_tokens=2, resumed_tokens=2))
    assert result == {
        "response": "Paris is the capital.",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 7, "completion_tokens": 4},
    }


def test_pictures_of_all_nodes_are_counted() -> None:
    """Each node drew one."""
    params = ImageParams(prompt="seven", width=32, height=32, steps=20, guidance_millionths=0, n=3)
    parts: list[list[JobEvent]] = [
        [ACCEPTED, Blob(0, "image/png", b"one", 20)],
        [ACCEPTED, Blob(0, "image/png", b"two", 20)],
    ]
    job = Job("j", Task.IMAGE_GEN, params, cost=JobCost(Task.LLM), ends_at=0.0, deadline_at=0, salt=bytes(32))
    answer, reader = Answer(job), AnswerReader(params)
    for events in parts:
        for event in events:
            answer.take(event)
            reader.take(event)
        answer.parts.append(RouteSegment("node", "asia", 20, "done"))
    done = Completed(Usage(images=1, image_units=20), "cancelled", NOTHING, NOTHING)
    assert reader.result(done, answer)["usage"] == {"images": 2, "image_units": 40}


def test_the_audio_of_all_nodes_is_counted() -> None:
    """Each wrote down one second."""
    reference = {"id": 0, "size_bytes": 1, "digest": bytes(32), "media_type": "audio/wav"}
    params = SpeechParams.from_map({"audio": reference, "max_audio_ms": 60_000})
    parts: list[list[JobEvent]] = [
        [ACCEPTED, SegmentFrame(start_ms=0, end_ms=1_000, text=" One", language="en")],
        [ACCEPTED, SegmentFrame(start_ms=1_000, end_ms=2_000, text=" two")],
    ]
    result = read(Task.WHISPER, params, *parts, last=Usage(audio_ms=1_000))
    assert (result["text"], result["language"], result["usage"]) == ("One two", "en", {"audio_ms": 2_000})


def test_vectors_come_from_the_node_that_ended_the_job() -> None:
    """Those of one that broke off after them were vouched for by nobody."""
    first, second = (array.array("f", values).tobytes() for values in ((1.0, 2.0), (3.0, 4.0)))
    parts: list[list[JobEvent]] = [
        [ACCEPTED, Blob(0, "application/octet-stream", first, 0)],
        [ACCEPTED, Blob(0, "application/octet-stream", second, 0)],
    ]
    result = read(Task.EMBEDDING, EmbeddingParams(inputs=("hi",)), *parts, last=Usage(input_tokens=3))
    assert result == {"embeddings": [[3.0, 4.0]], "usage": {"prompt_tokens": 3}}
