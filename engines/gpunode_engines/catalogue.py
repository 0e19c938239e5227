"""The catalogue of models: ``models.toml`` beside this file."""

import difflib
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import Name, TaskField
from pydantic import BaseModel, ConfigDict, Discriminator, Field, field_validator, model_validator

from gpunode_engines.errors import EngineStartFailed, ModelNotFound
from gpunode_engines.model_server import read_server
from gpunode_engines.registry import SERVER_BACKEND, has_backend

CATALOGUE_PATH = Path(__file__).with_name("models.toml")


Patterns = Annotated[tuple[str, ...], MinLen(1)]
Package = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.\w+)*$")]
Bits = Annotated[float, Gt(0), Le(64)]


class PackageSource(BaseModel):
    """Weights that a Python package ships.

    package: its import name (never imported). folder: below the package's own, which holds the model. patterns: as in
    ``HubSource``, relative to ``folder``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["package"]
    package: Package
    distribution: str
    folder: str = ""
    patterns: Patterns


class HubSource(BaseModel):
    """Weights on a model hub. patterns: shell patterns of the wanted files' names; ``*`` matches slashes too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["hub"]
    repo: str
    patterns: Patterns


class ServerSource(BaseModel):
    """A server of the owner's that speaks OpenAI's interface and has the weights. model: its name there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["server"]
    url: str
    model: str
    api_key: str = ""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        try:
            read_server(url, model="")
        except EngineStartFailed as error:
            raise ValueError(str(error)) from error
        return url


class ImageDefaults(BaseModel):
    """What suits an image model, for jobs that do not say. width, height: pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[int, Gt(0)]
    height: Annotated[int, Gt(0)]
    steps: Annotated[int, Gt(0)]
    guidance: Annotated[float, Ge(0), Le(100)]


Source = Annotated[PackageSource | HubSource | ServerSource, Discriminator("kind")]


class CudaWeights(BaseModel):
    """Other weights of a model, with their backend, for cards with CUDA on which they fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    bits_per_weight: Bits
    gated: bool = False
    source: Source


class CatalogueEntry(BaseModel):
    """One model. Fields: see the head of ``models.toml``. folder: of pulled files; empty = the model's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    aliases: tuple[Name, ...] = ()
    task: TaskField
    backend: str
    licence: str
    gated: bool = False
    parameters: Annotated[int, Gt(0), Le(10**15)]
    bits_per_weight: Bits
    kv_bytes_per_token: Annotated[int, Ge(0), Le(10**12)] = 0
    context_tokens: Annotated[int, Ge(0), Le(10**9)] = 0
    slots: Annotated[int, Gt(0), Le(1024)]
    chat_template: str = ""
    defaults: ImageDefaults | None = None
    source: Source
    cuda: CudaWeights | None = None
    folder: Name | Literal[""] = ""

    @model_validator(mode="after")
    def _check_backend(self) -> "CatalogueEntry":
        for weights in (self, self.cuda):
            if weights is not None:
                _check_weights(self.task, weights.backend, weights.source)
        return self

    @property
    def stored_as(self) -> str:
        """Name under which pulled files are kept and recorded."""
        return self.folder or self.name

    def for_cuda(self) -> "CatalogueEntry | None":
        """Return the same model with its weights for CUDA, None if there are none."""
        if self.cuda is None:
            return None
        changes = {name: getattr(self.cuda, name) for name in type(self.cuda).model_fields}
        return self.model_copy(update=changes | {"cuda": None, "folder": f"{self.name}-{self.cuda.backend}"})

    def weights_bytes(self) -> int:
        """Return the estimated size of the weights, bytes."""
        return int(self.parameters * self.bits_per_weight / 8)

    def memory_bytes(self, *, weights_bytes: int | None = None, context_tokens: int | None = None) -> int:
        """Return what the model takes in memory with its default slots: weights plus key-value caches, bytes."""
        context = context_tokens or self.context_tokens
        return (weights_bytes or self.weights_bytes()) + self.kv_bytes_per_token * context * self.slots


class Catalogue:
    """Models by name and alias, regardless of case."""

    def __init__(self, entries: tuple[CatalogueEntry, ...]) -> None:
        self.entries = entries
        self._by_name = {name.lower(): entry for entry in entries for name in (entry.name, *entry.aliases)}
        if len(self._by_name) < sum(len({name.lower() for name in (e.name, *e.aliases)}) for e in entries):
            raise ValueError("Two models of the catalogue share a name or an alias.")
        _check_folders(entries)

    @property
    def names(self) -> frozenset[str]:
        """Names and aliases, in small letters."""
        return frozenset(self._by_name)

    @classmethod
    def read(cls, path: Path) -> "Catalogue":
        """Read a catalogue file. Raises ValueError when it is not one."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except RecursionError as error:
            raise ValueError("It is nested too deeply.") from error
        if unknown := sorted(content.keys() - {"model"}):
            raise ValueError(f"{unknown[0]} is not known; each model is a [[model]] table.")
        models = content.get("model", [])
        if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
            raise ValueError("Models must be [[model]] tables.")
        return cls(tuple(CatalogueEntry.model_validate(entry) for entry in models))

    def resolve(self, name: str, task: Task | None = None) -> CatalogueEntry:
        """Return the model of a name or alias.

        Raises:
            ModelNotFound: none; the message lists what exists.
        """
        entry = self._by_name.get(name.lower())
        if entry is not None and task in (None, entry.task):
            return entry
        names = [other.name for other in self.entries if task in (None, other.task)]
        close = difflib.get_close_matches(name.lower(), names, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ModelNotFound(f"There is no model {name!r}.{hint} Known models: {', '.join(names) or 'none'}.")


def _check_weights(task: Task, backend: str, source: Source) -> None:
    """Raise ValueError where a backend cannot use weights from a source."""
    if not has_backend(task, backend):
        raise ValueError(f"There is no backend {backend!r} for {task}.")
    if backend == SERVER_BACKEND and source.kind != "server":
        raise ValueError(f"The backend {backend} needs a source of the kind server, not {source.kind}.")
    if source.kind == "server" and backend != SERVER_BACKEND:
        raise ValueError(f"The backend {backend} cannot use a source of the kind server; {SERVER_BACKEND} can.")


def _check_folders(entries: Iterable[CatalogueEntry]) -> None:
    """Raise ValueError where two models' pulled files would lie in one folder; some disks do not tell case apart."""
    users: dict[str, str] = {}
    for entry in entries:
        for weights in (entry, entry.for_cuda()):
            if weights is None or not isinstance(weights.source, HubSource):
                continue
            if (other := users.setdefault(weights.stored_as.lower(), entry.name)) != entry.name:
                raise ValueError(
                    f"The models {other!r} and {entry.name!r} are kept in one folder, {weights.stored_as}; give one "
                    "another folder."
                )


@cache
def default_catalogue() -> Catalogue:
    """Return the catalogue that gpunode ships."""
    return Catalogue.read(CATALOGUE_PATH)


def resolve_model(name: str, task: Task | None = None) -> CatalogueEntry:
    """Return a model of the shipped catalogue. Raises ModelNotFound, listing what exists."""
    return default_catalogue().resolve(name, task)
