from dataclasses import replace

from gpunode_node.gpu_use import NO_GPU, advertised_gpu, gpu_of, idle_gpu_problems
from gpunode_node.served_model import ServedModel

from tests.engines.fake_engine import FakeEngine
from tests.node.running_daemon import MACHINE

CPU_ONLY = replace(MACHINE, gpus=())


async def _served(*devices: str) -> list[ServedModel]:
    """Return models whose engines run on these devices."""
    models = []
    for device in devices:
        engine = FakeEngine(device=device)
        await engine.start()
        models.append(ServedModel(f"on-{device}", engine, await engine.measure_speed()))
    return models


def test_cards() -> None:
    """Cards of the first one's model are counted; none is said as none."""
    assert (gpu_of(MACHINE).model, gpu_of(MACHINE).count, gpu_of(MACHINE).memory_mb) == ("GTX", 2, 8_192)
    mixed = replace(MACHINE, gpus=(*MACHINE.gpus, replace(MACHINE.gpus[0], name="other")))
    assert gpu_of(mixed).count == 2
    assert gpu_of(CPU_ONLY) == NO_GPU


async def test_cards_are_advertised_when_an_engine_uses_them() -> None:
    """One engine is enough."""
    assert advertised_gpu(MACHINE, await _served("cpu", "GTX")) == gpu_of(MACHINE)
    assert advertised_gpu(MACHINE, await _served("cpu", "cpu")) == NO_GPU
    assert advertised_gpu(CPU_ONLY, await _served("cpu")) == NO_GPU


async def test_each_model_beside_a_card_is_told_of() -> None:
    """With what to do; not where there is no card, nor where it is not to be used."""
    models = await _served("cpu", "GTX")
    (problem,) = idle_gpu_problems(MACHINE, models, use_gpu=True)
    assert problem.startswith("on-cpu runs on the CPU, although this machine has a GTX: this build of fake cannot")
    assert "docs/configuration.md" in problem
    assert idle_gpu_problems(MACHINE, models, use_gpu=False) == []
    assert idle_gpu_problems(CPU_ONLY, models, use_gpu=True) == []
