"""From a model's name and the settings to an engine that is ready to be started."""

import logging
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gpunode_protocol.tasks import Task

from gpunode_engines.catalogue import CatalogueEntry, ServerSource
from gpunode_engines.config import EngineSettings
from gpunode_engines.confinement import SandboxPolicy
from gpunode_engines.cuda_placement import quantised_bits, quantised_bytes
from gpunode_engines.devices import Machine
from gpunode_engines.errors import ModelNotPulled, NotEnoughMemory, UnreadableWeights
from gpunode_engines.fetch import locate, root_of
from gpunode_engines.file_digests import FileDigests, weights_digest
from gpunode_engines.ipc import BackendOptions
from gpunode_engines.limits import EngineLimits
from gpunode_engines.media_facts import read_media_facts
from gpunode_engines.memory_fit import Room, Size, card_memory, fit, main_memory, owners_share, taken_bytes
from gpunode_engines.model_facts import ModelFacts, read_model_facts
from gpunode_engines.model_server import read_server
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine

logger = logging.getLogger(__name__)


_SPREADS_OVER_CARDS: Final = frozenset({"llamacpp", "transformers"})
"""Backends that split one model over all graphics cards; the others use one."""

_KEEPS_THE_REST_IN_RAM: Final = frozenset({"diffusers"})
"""Backends that use a card although the model is larger than its memory: they move parts of it there and back."""

_HALF_PRECISION: Final = frozenset({"F16", "BF16"})
_HALF_PRECISION_BITS: Final = 16
_MEDIA_JOB_S: Final = 12 * 3600.0
"""Longest wall clock of an image or speech job; the node gives each its own."""


@dataclass(frozen=True, slots=True)
class _ModelFiles:
    """root: the model's folder. paths: its files, in order."""

    root: Path
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placement:
    """Where a model goes and how large it may be there."""

    facts: ModelFacts
    size: Size
    use_gpu: bool


def plan_engine(entry: CatalogueEntry, settings: EngineSettings, machine: Machine) -> EnginePlan:
    """Work out how a model is loaded here. Reads and perhaps hashes its files: seconds to minutes, call it in a thread.

    Raises:
        ModelNotPulled: the files are not here. UnreadableWeights: they cannot be read. NotEnoughMemory: they do not
            fit, not even with fewer jobs at once and a shorter context.
    """
    if isinstance(entry.source, ServerSource):
        return _server_plan(entry, entry.source, settings)
    paths = locate(entry, settings.models_dir)
    root = root_of(entry, settings.models_dir)
    place = _place(entry, settings, machine, _ModelFiles(root, paths))
    return EnginePlan(
        task=entry.task,
        model=entry.name,
        backend=entry.backend,
        root=str(root),
        files=tuple(str(path) for path in paths),
        weights_digest=_digest(paths, settings.cache_dir),
        quantisation=place.facts.quantisation,
        memory_bytes=taken_bytes(place.facts, place.size),
        options=BackendOptions(
            context_tokens=place.size.context_tokens,
            slots=place.size.slots,
            threads=settings.engine_threads or machine.physical_cores,
            use_gpu=place.use_gpu,
            card_share=owners_share(machine, settings.max_gpu_memory),
            chat_template=entry.chat_template,
            quantised_bits=quantised_bits(entry.backend, entry.bits_per_weight) if place.use_gpu else 0,
            cache_bytes=taken_bytes(place.facts, place.size) - place.facts.weights_bytes,
        ),
        sandbox=SandboxPolicy.of(settings.sandbox, *settings.private_folders),
    )


def wanted_memory_bytes(entry: CatalogueEntry, settings: EngineSettings, machine: Machine) -> int:
    """Return what a model takes here where nothing of it has to be cut down, bytes; an estimate until it is pulled.

    0 for a model that another server runs. Reads headers of its files only.
    """
    if isinstance(entry.source, ServerSource):
        return 0
    if settings.engine_gpu and machine.gpus:
        on_cards = _wanted_bytes(entry, settings, on_gpu=True)
        if on_cards <= card_memory(machine, over_all_cards=entry.backend in _SPREADS_OVER_CARDS).usable_bytes:
            return on_cards
    return _wanted_bytes(entry, settings, on_gpu=False)


def _wanted_bytes(entry: CatalogueEntry, settings: EngineSettings, *, on_gpu: bool) -> int:
    try:
        files = _ModelFiles(root_of(entry, settings.models_dir), locate(entry, settings.models_dir))
        facts = _facts(entry, files, on_gpu=on_gpu)
    except (ModelNotPulled, UnreadableWeights):
        is_widened = entry.task is Task.IMAGE_GEN and not on_gpu and entry.bits_per_weight == _HALF_PRECISION_BITS
        facts = ModelFacts(
            quantisation="",
            trained_context_tokens=entry.context_tokens,
            weights_bytes=entry.weights_bytes() * (2 if is_widened else 1),
            kv_bytes_per_token=entry.kv_bytes_per_token,
        )
    return taken_bytes(facts, _wanted_size(entry, settings, facts))


def _wanted_size(entry: CatalogueEntry, settings: EngineSettings, facts: ModelFacts) -> Size:
    context_tokens = min(settings.engine_context_tokens or entry.context_tokens, facts.trained_context_tokens)
    return Size(context_tokens=context_tokens, slots=settings.engine_slots or entry.slots)


def _server_plan(entry: CatalogueEntry, source: ServerSource, settings: EngineSettings) -> EnginePlan:
    """Plan for a model that another server runs. Nobody here knows its weights, so no other engine counts as equal."""
    root = settings.models_dir / entry.stored_as
    root.mkdir(parents=True, exist_ok=True)  # empty: it is what the child may read
    return EnginePlan(
        task=entry.task,
        model=entry.name,
        backend=entry.backend,
        root=str(root),
        files=(),
        weights_digest=secrets.token_bytes(32),
        quantisation="server",
        memory_bytes=0,
        options=BackendOptions(
            context_tokens=settings.engine_context_tokens or entry.context_tokens,
            slots=settings.engine_slots or entry.slots,
            threads=1,
            use_gpu=False,
            server=read_server(source.url, source.model, source.api_key),
        ),
        sandbox=SandboxPolicy.of(settings.sandbox, *settings.private_folders),
    )


def create_engine(plan: EnginePlan, settings: EngineSettings) -> SupervisedEngine:
    """Return the engine of a plan under the limits of the settings; the caller starts and stops it."""
    job_s = _MEDIA_JOB_S if plan.task in {Task.IMAGE_GEN, Task.WHISPER} else settings.engine_time_limit_s
    limits = replace(EngineLimits(), rss_bytes=settings.engine_memory_limit_bytes, job_s=job_s)
    return SupervisedEngine(plan, limits)


def _place(entry: CatalogueEntry, settings: EngineSettings, machine: Machine, files: _ModelFiles) -> _Placement:
    """Prefer the graphics cards, smaller if it must be; what does not fit there goes to the CPU.

    Raises:
        NotEnoughMemory: it fits nowhere. UnreadableWeights: see there.
    """
    if settings.engine_gpu and machine.gpus:
        room = card_memory(machine, over_all_cards=entry.backend in _SPREADS_OVER_CARDS)
        try:
            return _fitted(entry, settings, _facts(entry, files, on_gpu=True), room, use_gpu=True)
        except NotEnoughMemory as error:
            if entry.backend in _KEEPS_THE_REST_IN_RAM:
                facts = _facts(entry, files, on_gpu=True)
                return _fitted(entry, settings, facts, main_memory(machine, settings), use_gpu=True)
            if _may_lie_in_ram(entry):
                facts, ram = _facts(entry, files, on_gpu=True), main_memory(machine, settings)
                both = Room(usable_bytes=room.usable_bytes + ram.usable_bytes, name="memory of cards and machine")
                return _fitted(entry, settings, facts, both, use_gpu=True)
            logger.warning("%s It runs on the CPU.", error, extra={"event": "model_not_on_gpu", "model": entry.name})
    facts = _facts(entry, files, on_gpu=False)
    return _fitted(entry, settings, facts, main_memory(machine, settings), use_gpu=False)


def _may_lie_in_ram(entry: CatalogueEntry) -> bool:
    """Whether a part of a text model's weights can stay in RAM: accelerate's offload, of weights as they are stored."""
    is_text = entry.task is Task.LLM and entry.backend == "transformers"
    return is_text and not quantised_bits(entry.backend, entry.bits_per_weight)


def _facts(entry: CatalogueEntry, files: _ModelFiles, *, on_gpu: bool) -> ModelFacts:
    if entry.task is Task.LLM:
        facts = read_model_facts(files.paths, on_gpu=on_gpu)
        bits = quantised_bits(entry.backend, entry.bits_per_weight) if on_gpu else 0
        return replace(facts, weights_bytes=quantised_bytes(facts.weights_bytes, bits))
    facts = read_media_facts(files.root, files.paths)
    if entry.task is Task.IMAGE_GEN and not on_gpu and facts.quantisation in _HALF_PRECISION:
        return replace(facts, weights_bytes=2 * facts.weights_bytes)  # float32 on CPUs
    return facts


def _fitted(
    entry: CatalogueEntry, settings: EngineSettings, facts: ModelFacts, room: Room, *, use_gpu: bool
) -> _Placement:
    wanted = _wanted_size(entry, settings, facts)
    size = fit(entry.name, facts, wanted, room)
    if size != wanted:
        logger.warning(
            "%s takes %d jobs at once of %d tokens, not %d of %d: no more fits in the free %s",
            entry.name,
            size.slots,
            size.context_tokens,
            wanted.slots,
            wanted.context_tokens,
            room.name,
            extra={"event": "model_reduced", "model": entry.name},
        )
    return _Placement(facts=facts, size=size, use_gpu=use_gpu)


def _digest(paths: tuple[Path, ...], cache_dir: Path) -> bytes:
    digests = FileDigests(cache_dir)
    try:
        return weights_digest([digests.digest(path) for path in paths])
    except OSError as error:
        raise UnreadableWeights(f"The model file {error.filename} cannot be read: {error.strerror}.") from error
