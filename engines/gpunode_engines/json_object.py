"""JSON in a model's files, which strangers wrote."""

import json
from pathlib import Path
from typing import Any, Final

from gpunode_engines.errors import UnreadableWeights

MAX_JSON_BYTES: Final = 8 * 1024 * 1024
"""Of a config, index or header. Python makes up to 25 times as much of it, and the node's own process does so."""


def read_object(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file of a model.

    Raises:
        UnreadableWeights: it is missing, too long, or holds no object.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise UnreadableWeights(f"{path} is longer than {MAX_JSON_BYTES >> 20} MiB; no model's config is.")
        return parse_object(data, str(path))
    except OSError as error:
        raise UnreadableWeights(
            f"The model file {path} cannot be read: {error.strerror}. Pull the model again."
        ) from error


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Return a JSON object. name: of the file that it is from. Raises UnreadableWeights."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableWeights(f"{name} is not a usable JSON file. Delete it and pull the model again.") from error
    if not isinstance(content, dict):
        raise UnreadableWeights(f"{name} holds no JSON object. Delete it and pull the model again.")
    return content
