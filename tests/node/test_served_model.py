"""A model with its queue."""

from gpunode_node.served_model import ServedModel
from gpunode_protocol.tasks import Task

from tests.engines.fake_engine import FakeEngine


async def test_the_queue_follows_the_engine() -> None:
    """Slots and speeds are the engine's."""
    engine = FakeEngine(slots=3, tokens_per_s=20)
    await engine.start()
    model = ServedModel("name", engine, await engine.measure_speed(), queue_limit=2)
    assert (model.task, model.info.model, model.scheduler.slots) == (Task.LLM, "fake", 3)
    await engine.stop()
