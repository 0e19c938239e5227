"""The engines of the overhead bench: a real model without caches, and the paced one. Both in real child processes."""

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from gpunode_engines.base import Engine, Event, GenerateRequest, MeasuredSpeed, WorkRequest
from gpunode_engines.catalogue import CatalogueEntry, resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Machine
from gpunode_engines.plan import plan_engine
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine

from gpunode_benchmarks.paced_backend import BACKEND, INTERVAL_VARIABLE, PREFILL_VARIABLE

MODEL = "smollm2-135m"
SYSTEM = "."
"""Without a system message, the model's template brings one of its own that takes longer to read than the prompt."""
PACED_PREFIX = "paced-"
PACED_SLOTS = 128
PACED_CONTEXT_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a paced engine is. interval_ms: from token to token. prefill_ms: for each token of the prompt."""

    interval_ms: float
    prefill_ms: float = 0.0
    slots: int = PACED_SLOTS


def paced_model(interval_ms: int) -> str:
    """Return the name under which a paced engine is served; ``interval_ms``: from token to token, >= 1."""
    return f"{PACED_PREFIX}{interval_ms}ms"


class UncachedEngine(SupervisedEngine):
    """Reads every prompt anew and goes on to the last token, whoever asks: jobs of one length, on every side."""

    async def generate(self, request: WorkRequest) -> AsyncGenerator[Event, None]:
        """See ``Engine``."""
        if isinstance(request, GenerateRequest):
            request = replace(request, cache_owner="", ignore_eos=True)
        async for event in super().generate(request):
            yield event


class PacedEngine(SupervisedEngine):
    """Says how fast it was set, where that is known: a measurement would tell how busy the bench's machine is."""

    def __init__(self, plan: EnginePlan, pace: Pace) -> None:
        variables = {INTERVAL_VARIABLE: str(pace.interval_ms), PREFILL_VARIABLE: str(pace.prefill_ms)}
        super().__init__(plan, extra_environment=variables)
        self._pace = pace

    async def measure_speed(self) -> MeasuredSpeed:
        """See ``Engine``."""
        measured = await super().measure_speed()
        if not self._pace.prefill_ms:
            return measured
        return replace(
            measured,
            prefill_tokens_per_s=1000 / self._pace.prefill_ms,
            decode_tokens_per_s=1000 / self._pace.interval_ms,
        )


class OverheadEngines:
    """An ``EngineFactory`` that remembers what it made, by the model's name.

    Args:
        settings, machine: of the node.
        pace: of paced engines whose names do not tell it.
    """

    def __init__(self, settings: EngineSettings, machine: Machine, pace: Pace | None = None) -> None:
        self._settings = settings
        self._machine = machine
        self._pace = pace
        self.made: dict[str, Engine] = {}

    async def __call__(self, entry: CatalogueEntry) -> Engine:
        """Return the engine of a model, not started."""
        engine = self._paced(entry) if entry.backend == BACKEND else self._real(entry)
        self.made[entry.name] = engine
        return engine

    def _real(self, entry: CatalogueEntry) -> Engine:
        return UncachedEngine(plan_engine(entry, self._settings, self._machine))

    def _paced(self, entry: CatalogueEntry) -> Engine:
        pace = self._pace or Pace(float(entry.name.removeprefix(PACED_PREFIX).removesuffix("ms")))
        real = plan_engine(resolve_model(MODEL), self._settings, self._machine)
        options = replace(real.options, context_tokens=entry.context_tokens, slots=entry.slots)
        digest = hashlib.sha256(entry.name.encode()).digest()
        plan = replace(real, model=entry.name, backend=BACKEND, files=(), weights_digest=digest, options=options)
        return PacedEngine(plan, pace)


def resolve_with_paced(name: str, *, slots: int = PACED_SLOTS) -> CatalogueEntry:
    """Return a model of the catalogue, or a paced one, which is in no catalogue and has so many slots.

    Raises:
        ModelNotFound: neither.
    """
    if not name.startswith(PACED_PREFIX):
        return resolve_model(name)
    changes = {
        "name": name,
        "aliases": (),
        "backend": BACKEND,
        "context_tokens": PACED_CONTEXT_TOKENS,
        "slots": slots,
    }
    return resolve_model(MODEL).model_copy(update=changes)
