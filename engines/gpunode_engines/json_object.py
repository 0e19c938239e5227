"""JSON in a model's files, which strangers wrote."""

import json
from pathlib import Path
from typing import Any

from gpunode_engines.errors import UnreadableWeights


def read_object(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file of a model. Raises UnreadableWeights: it is missing, or holds no object."""
    try:
        return parse_object(path.read_bytes(), str(path))
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
