"""The user's own models: a file of the same format beside the shipped catalogue."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from gpunode_engines.catalogue import Catalogue, default_catalogue
from gpunode_engines.config import EngineSettings
from gpunode_engines.errors import ModelsFileUnusable


def known_models(settings: EngineSettings) -> Catalogue:
    """Return the shipped models and the user's.

    Raises:
        ModelsFileUnusable: the file that the settings name is missing or wrong, or takes a shipped model's name or
            folder.
    """
    path = settings.models_file
    return default_catalogue() if path is None else with_own(default_catalogue(), path)


def with_own(shipped: Catalogue, path: Path) -> Catalogue:
    """Return a catalogue with the models of a file added. Raises ModelsFileUnusable."""
    try:
        own = Catalogue.read(path)
    except OSError as error:
        raise ModelsFileUnusable(f"The models file {path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ModelsFileUnusable(f"The models file {path} is not TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ModelsFileUnusable(f"In the models file {path}: {place or 'a model'}: {first['msg']}.") from error
    except ValueError as error:
        raise ModelsFileUnusable(f"In the models file {path}: {error}") from error
    if taken := sorted(shipped.names & own.names):
        raise ModelsFileUnusable(
            f"The models file {path} uses names of shipped models: {', '.join(taken)}. Receipts name models, so a name "
            "must mean the same everywhere; take others."
        )
    try:
        return Catalogue((*shipped.entries, *own.entries))
    except ValueError as error:
        raise ModelsFileUnusable(f"In the models file {path}: {error}") from error
