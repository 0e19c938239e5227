"""An embedding job through the whole node."""

from pathlib import Path

from gpunode_engines.base import Blob, Finished
from gpunode_engines.media import EmbeddingRequest
from gpunode_protocol import blobs
from gpunode_protocol.payloads import Usage
from gpunode_protocol.tasks import Task

from tests.node.fake_media_engine import FakeMediaEngine
from tests.node.job_client import ask
from tests.node.world import request, running_node

VECTORS = bytes(range(24))
EVENTS = (
    Blob(index=0, offset=0, total_bytes=24, data=VECTORS[:10], media_type="application/octet-stream"),
    Blob(index=0, offset=10, total_bytes=24, data=VECTORS[10:], media_type="application/octet-stream"),
    Finished(reason="stop", prompt_tokens=5, output_tokens=0),
)


async def test_texts_in_vectors_out(tmp_path: Path) -> None:
    """The input's tokens are quoted and billed, the vectors arrive whole, the receipt verifies."""
    engine = FakeMediaEngine(Task.EMBEDDING, EVENTS, prompt_tokens=5)
    signed = request(task=Task.EMBEDDING.value, params={"inputs": ("a", "b"), "normalize": False})
    async with running_node(tmp_path, engine) as node:
        client = await ask(node, signed)
    assert client.accepted.prompt_tokens == 5
    assert [event.data for event in client.events if isinstance(event, blobs.Blob)] == [VECTORS]
    assert client.completed.usage == Usage(input_tokens=5)
    (order,) = engine.asked
    assert isinstance(order, EmbeddingRequest)
    assert (order.inputs, order.normalize) == (("a", "b"), False)
