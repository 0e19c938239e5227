"""Which models are in memory together, which one makes room for another, and what follows from running out. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from gpunode_protocol.tasks import Task

from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Machine
from gpunode_engines.image_memory import memory_plans
from gpunode_engines.memory_fit import MIN_CONTEXT_TOKENS, card_memory, main_memory
from gpunode_engines.supervisor import EnginePlan

_LOWERED_SHARE: Final = 2
"""Jobs at once, and then the context, are divided by this when memory ran out."""
_HALVINGS: Final = 3
"""Of what speech and embeddings compute at once: eight windows come down to one, 8,192 tokens to 1,024."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one model takes while it is loaded. memory_bytes: estimate; on_card: of the cards, else main memory."""

    memory_bytes: int
    on_card: bool

    @classmethod
    def of(cls, plan: EnginePlan) -> "Need":
        """Return what a planned model needs."""
        return cls(memory_bytes=plan.memory_bytes, on_card=plan.options.use_gpu)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What all models together may take, bytes."""

    main_bytes: int
    card_bytes: int

    @classmethod
    def of(cls, machine: Machine, settings: EngineSettings) -> "Capacity":
        """Return what is free on a machine on which no engine runs yet."""
        limit = _without_engine_limit(settings, machine)
        return cls(
            main_bytes=main_memory(machine, limit).usable_bytes,
            card_bytes=card_memory(machine, over_all_cards=True).usable_bytes,
        )

    def bytes_of(self, need: Need) -> int:
        """Return the capacity that a need counts against."""
        return self.card_bytes if need.on_card else self.main_bytes


def _without_engine_limit(settings: EngineSettings, machine: Machine) -> EngineSettings:
    """Return settings whose limit of one engine does not bound all engines together."""
    return settings.model_copy(update={"engine_memory_limit_bytes": machine.memory_bytes})


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A loaded model. used_at: monotonic seconds of the last job's end; busy: a job uses it now."""

    name: str
    need: Need
    used_at: float
    busy: bool


def leaving_for(need: Need, residents: Iterable[Resident], capacity: Capacity) -> tuple[str, ...]:
    """Return the models to unload so that ``need`` fits: idle ones first, then the least recently used.

    A busy one among them is to finish its jobs first. Where even an empty memory is too small, all of its kind go:
    the model was planned for the memory that was free at the start, and loading it tells whether that is still so.
    """
    rivals = sorted(
        (resident for resident in residents if resident.need.on_card == need.on_card),
        key=lambda resident: (resident.busy, resident.used_at),
    )
    free_bytes = capacity.bytes_of(need) - sum(resident.need.memory_bytes for resident in rivals)
    leaving = []
    for resident in rivals:
        if free_bytes >= need.memory_bytes:
            break
        leaving.append(resident.name)
        free_bytes += resident.need.memory_bytes
    return tuple(leaving)


def lowered(plan: EnginePlan, saving: int = 0) -> EnginePlan | None:
    """Return the plan of a model whose process ran out of memory: half the jobs at once, then less for each of them.

    Texts get half the context; the others compute less at once, or leave weights where there is room for them. None
    when there is nothing left to lower. The estimate stays: it was too low for what the plan asked for.

    Args:
        plan: with which memory ran out.
        saving: of the engine as it was loaded, see ``Loaded``.
    """
    options = plan.options
    if options.slots > 1:
        return replace(plan, options=replace(options, slots=options.slots // _LOWERED_SHARE))
    if plan.task is Task.LLM:
        context_tokens = options.context_tokens // _LOWERED_SHARE
        fits = context_tokens >= MIN_CONTEXT_TOKENS
        return replace(plan, options=replace(options, context_tokens=context_tokens)) if fits else None
    saving = max(saving, options.saving) + 1
    return replace(plan, options=replace(options, saving=saving)) if saving <= most_saving(plan) else None


def most_saving(plan: EnginePlan) -> int:
    """Return how many steps of ``BackendOptions.saving`` there are for a model."""
    match plan.task:
        case Task.IMAGE_GEN:
            return len(memory_plans(on_gpu=plan.options.use_gpu)) - 1
        case Task.WHISPER:
            return _HALVINGS if plan.options.use_gpu else 0  # on CPUs it is one window anyway
        case Task.EMBEDDING:
            return _HALVINGS
        case Task.LLM:
            return 0


def described(plan: EnginePlan) -> str:
    """Return what a plan asks for, for messages."""
    slots, saving = plan.options.slots, plan.options.saving
    jobs = "1 job" if slots == 1 else f"{slots} jobs"
    if plan.task is Task.LLM:
        return f"{jobs} at once of {plan.options.context_tokens} tokens"
    return f"{jobs} at once" + (f", slower and in less memory (step {saving} of {most_saving(plan)})" if saving else "")
