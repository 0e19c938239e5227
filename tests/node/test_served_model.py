"""A model with its queue."""

from typing import cast

import pytest
from gpunode_engines.base import NO_LIMIT_PER_S, Engine, MeasuredSpeed
from gpunode_node.served_model import ServedModel
from gpunode_protocol.tasks import Task

from tests.engines.fake_engine import FakeEngine
from tests.node.fake_media_engine import FakeMediaEngine


async def test_the_queue_follows_the_engine() -> None:
    """Slots and speeds are the engine's."""
    engine = FakeEngine(slots=3, tokens_per_s=20)
    await engine.start()
    model = ServedModel("name", engine, await engine.measure_speed(), queue_limit=2)
    assert (model.task, model.info.model, model.scheduler.slots) == (Task.LLM, "fake", 3)
    await engine.stop()


@pytest.mark.parametrize(
    ("task", "taken", "given", "rates", "words"),
    [
        (Task.LLM, 500.0, 24.0, {"prefill_tokens_per_s": 500.0, "decode_tokens_per_s": 24.0}, "24 tokens/s"),
        (Task.EMBEDDING, 3388.0, NO_LIMIT_PER_S, {"prefill_tokens_per_s": 3388.0}, "texts: 3,388 tokens/s"),
        (Task.IMAGE_GEN, NO_LIMIT_PER_S, 48.0, {"image_units_per_s": 48.0}, "0.19 steps/s of 512 x 512"),
        (Task.WHISPER, NO_LIMIT_PER_S, 36_946.0, {"audio_ms_per_s": 36_946.0}, "37 x real time"),
    ],
)
def test_rates_are_those_of_the_task(
    task: Task, taken: float, given: float, rates: dict[str, float], words: str
) -> None:
    """Each in its unit; one that the task does not have is left out."""
    speed = MeasuredSpeed(
        prefill_tokens_per_s=taken, decode_tokens_per_s=given, ttft_s=0.1, prompt_tokens=1, output_tokens=1
    )
    model = ServedModel("name", cast("Engine", FakeMediaEngine(task, ())), speed)
    assert (model.rates, model.speed_words) == (rates, words)
