"""What the first pull of each model found: revision, file names, sizes and digests; later pulls must find the same."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, MinLen
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gpunode_engines.errors import ModelError

LOCK_NAME = "models.lock.json"
LOCAL_REVISION = "local"
"""Of models that came from a folder."""


FILE_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$"
"""Of a model's file, relative to its folder: nothing that leads out of it, or means something to a shell."""


class LockedFile(BaseModel):
    """A model file. name: relative to the model's folder, with ``/`` between folders."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(pattern=FILE_NAME_PATTERN)]
    size_bytes: Annotated[int, Ge(0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class LockedModel(BaseModel):
    """A pulled model. revision: commit of the hub's repository, or ``local`` for a folder."""

    model_config = ConfigDict(frozen=True)

    repo: str
    revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    files: Annotated[tuple[LockedFile, ...], MinLen(1)]


_CONTENT = TypeAdapter(dict[str, LockedModel])


class ModelLock:
    """The lock file in the models folder."""

    def __init__(self, models_dir: Path) -> None:
        self._path = models_dir / LOCK_NAME

    def get(self, model: str) -> LockedModel | None:
        """Return what is locked for a model. Raises ModelError when the lock file is damaged."""
        return self._read().get(model)

    def all(self) -> dict[str, LockedModel]:
        """Return everything that is locked, by model. Raises ModelError when the lock file is damaged."""
        return self._read()

    def put(self, model: str, locked: LockedModel) -> None:
        """Record a model; the file is replaced whole, by one process at a time."""
        with self._alone():
            self._write(self._read() | {model: locked})

    def drop(self, model: str) -> None:
        """Forget a model; one that is not recorded is no error."""
        if model not in self._read():
            return
        with self._alone():
            self._write({name: locked for name, locked in self._read().items() if name != model})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes and threads from changing the file between a look at it and its replacement."""
        from filelock import FileLock  # noqa: PLC0415 -- an optional dependency, not needed to read

        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_name(f".{self._path.name}.lock")):
            yield

    def _write(self, content: dict[str, LockedModel]) -> None:
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(_CONTENT.dump_python(content, mode="json"), indent=2, sort_keys=True) + "\n")
        temporary.replace(self._path)

    def _read(self) -> dict[str, LockedModel]:
        try:
            return _CONTENT.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValidationError as error:
            raise ModelError(
                f"The lock file {self._path} is damaged. Restore it, or delete it and pull again."
            ) from error
