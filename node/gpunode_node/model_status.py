"""What `gpunode status` shows of each model, as plain data."""

from collections.abc import Iterable
from typing import Any

from gpunode_node.served_model import ServedModel


def engine_problems(models: Iterable[ServedModel]) -> list[str]:
    """Return a line for each model whose engine died: one that is only not in memory is loaded when a job comes."""
    return [
        f"The engine of {model.name} is being restarted."
        for model in models
        if not model.engine.healthy and not model.waits_for_memory
    ]


def model_status(model: ServedModel) -> dict[str, Any]:
    """Return one model with its queue, its engine and what confines that."""
    return {
        "name": model.name,
        "task": model.task,
        "backend": model.info.backend,
        "device": model.info.device,
        "fingerprint": model.info.fingerprint.hex(),
        "context_tokens": model.info.context_tokens,
        "slots": model.scheduler.slots,
        "active": model.scheduler.active,
        "queued": model.scheduler.queued,
        "speed": model.speed_words,
        **{name: round(rate, 1) for name, rate in model.rates.items()},
        "loaded": not model.waits_for_memory,
        "healthy": model.engine.healthy,
        "restarts": model.engine.restarts,
        "sandbox": {
            "level": model.info.confinement.level,
            "lacks": list(model.info.confinement.lacks()),
            "denials": model.engine.denials,
        },
    }
