"""The catalogue of models: ``models.toml`` beside this file."""

import difflib
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, MinLen
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import Name, TaskField
from pydantic import BaseModel, ConfigDict, Discriminator

from gpunode_engines.errors import ModelNotFound

CATALOGUE_PATH = Path(__file__).with_name("models.toml")


Patterns = Annotated[tuple[str, ...], MinLen(1)]


class PackageSource(BaseModel):
    """Weights that a Python package ships.

    package: its import name (never imported). folder: below the package's own, which holds the model. patterns: as in
    ``HubSource``, relative to ``folder``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["package"]
    package: str
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


class ImageDefaults(BaseModel):
    """What suits an image model, for jobs that do not say. width, height: pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[int, Gt(0)]
    height: Annotated[int, Gt(0)]
    steps: Annotated[int, Gt(0)]
    guidance: Annotated[float, Ge(0)]


Source = Annotated[PackageSource | HubSource | ServerSource, Discriminator("kind")]


class CudaWeights(BaseModel):
    """Other weights of a model, with their backend, for cards with CUDA on which they fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    bits_per_weight: Annotated[float, Gt(0)]
    gated: bool = False
    source: Source


class CatalogueEntry(BaseModel):
    """One model. Fields: see the head of ``models.toml``. folder: of pulled files; empty = the model's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    aliases: tuple[str, ...] = ()
    task: TaskField
    backend: str
    licence: str
    gated: bool = False
    parameters: Annotated[int, Gt(0)]
    bits_per_weight: Annotated[float, Gt(0)]
    kv_bytes_per_token: Annotated[int, Ge(0)] = 0
    context_tokens: Annotated[int, Ge(0)] = 0
    slots: Annotated[int, Gt(0)]
    chat_template: str = ""
    defaults: ImageDefaults | None = None
    source: Source
    cuda: CudaWeights | None = None
    folder: str = ""

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

    @property
    def names(self) -> frozenset[str]:
        """Names and aliases, in small letters."""
        return frozenset(self._by_name)

    @classmethod
    def read(cls, path: Path) -> "Catalogue":
        """Read a catalogue file. Raises ValueError when it is not one."""
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(CatalogueEntry.model_validate(entry) for entry in content.get("model", ())))

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


@cache
def default_catalogue() -> Catalogue:
    """Return the catalogue that gpunode ships."""
    return Catalogue.read(CATALOGUE_PATH)


def resolve_model(name: str, task: Task | None = None) -> CatalogueEntry:
    """Return a model of the shipped catalogue. Raises ModelNotFound, listing what exists."""
    return default_catalogue().resolve(name, task)
