"""What a node serves when its owner names no model: what fits, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gpunode_engines.backend_choice import on_machine
from gpunode_engines.catalogue import Catalogue, CatalogueEntry, HubSource
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Machine
from gpunode_engines.disk_room import SPARE_BYTES, free_bytes
from gpunode_engines.errors import ModelError, NotEnoughMemory
from gpunode_engines.fetch import locate
from gpunode_engines.memory_fit import MIN_CONTEXT_TOKENS, card_memory, main_memory
from gpunode_protocol.tasks import Task

_GIB: Final = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that could be served.

    is_here: pulled, or installed with a package. can_be_pulled: from a hub, without an account there.
    memory_bytes: the least that it runs with. weights_bytes: on the disk.
    """

    name: str
    is_here: bool
    can_be_pulled: bool
    memory_bytes: int
    weights_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Bytes free for one model: memory of cards or machine, whichever has more of it, and disk."""

    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """name: of the model. why: for the owner."""

    name: str
    why: str


def choose_model(candidates: Iterable[Candidate], default: str | None, resources: Resources) -> ModelChoice:
    """Return the network's default if it fits, else the largest that is here, else the largest that can be pulled.

    default: None = the network publishes none, or none that is known here.

    Raises:
        NotEnoughMemory: nothing fits; the message says what each would need.
    """
    ordered = sorted(candidates, key=lambda each: (each.name != default, not each.is_here, -each.weights_bytes))
    refusals: list[str] = []
    for each in ordered:
        obstacle = _obstacle(each, resources)
        if not obstacle:
            return ModelChoice(each.name, _why(each, default, refusals))
        refusals.append(f"{each.name} {obstacle}")
    raise NotEnoughMemory(
        f"No model fits this machine: {'; '.join(refusals) or 'none is known'}. Free memory or disk space, or name a "
        "model with --model."
    )


def default_choice(default: str | None, models: Catalogue, settings: EngineSettings, machine: Machine) -> ModelChoice:
    """Choose among the text models that are known here. Looks at files, but reads none. Raises NotEnoughMemory."""
    entries = [entry for entry in models.entries if entry.task is Task.LLM]
    known = {name.lower(): entry.name for entry in entries for name in (entry.name, *entry.aliases)}
    resources = Resources(memory_bytes=_usable(settings, machine), disk_bytes=free_bytes(settings.models_dir))
    candidates = [_candidate(on_machine(entry, settings, machine), settings) for entry in entries]
    return choose_model(candidates, known.get((default or "").lower()), resources)


def _usable(settings: EngineSettings, machine: Machine) -> int:
    cards = card_memory(machine, over_all_cards=True).usable_bytes if settings.engine_gpu else 0
    return max(cards, main_memory(machine, settings).usable_bytes)


def _candidate(entry: CatalogueEntry, settings: EngineSettings) -> Candidate:
    try:
        weights_bytes = sum(path.stat().st_size for path in locate(entry, settings.models_dir))
        is_here = True
    except (ModelError, OSError):
        weights_bytes, is_here = entry.weights_bytes(), False
    return Candidate(
        name=entry.name,
        is_here=is_here,
        can_be_pulled=isinstance(entry.source, HubSource) and (not entry.gated or bool(settings.model_mirror)),
        memory_bytes=weights_bytes + entry.kv_bytes_per_token * min(MIN_CONTEXT_TOKENS, entry.context_tokens),
        weights_bytes=weights_bytes,
    )


def _obstacle(candidate: Candidate, resources: Resources) -> str:
    """Return what keeps a model from being served, empty if nothing."""
    if candidate.memory_bytes > resources.memory_bytes:
        needed, free = candidate.memory_bytes / _GIB, resources.memory_bytes / _GIB
        return f"needs {needed:.1f} GiB of memory, {free:.1f} can be used"
    if candidate.is_here:
        return ""
    if not candidate.can_be_pulled:
        return "is not here and cannot be pulled"
    if candidate.weights_bytes + SPARE_BYTES > resources.disk_bytes:
        return f"needs {candidate.weights_bytes / _GIB:.1f} GiB on the disk, {resources.disk_bytes / _GIB:.1f} are free"
    return ""


def _why(chosen: Candidate, default: str | None, refusals: list[str]) -> str:
    place = "it is here" if chosen.is_here else "it will be pulled"
    if chosen.name == default:
        return f"the network's default fits, and {place}"
    missing = f"the network's default does not fit ({refusals[0]})" if default else "no default of the network is known"
    return f"{missing}; of the others {chosen.name} is the largest that fits, and {place}"
