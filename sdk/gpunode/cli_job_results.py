"""Results of queued jobs for people: what a terminal shows of them, and the files that they become."""

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_SUFFIX_OF: Final = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
_TEXT_OF: Final = {"llm": "response", "whisper": "text"}


def result_text(task: str, result: Mapping[str, Any]) -> str:
    """Return what is shown of a result: its text, or a line that says what there is."""
    name = _TEXT_OF.get(task)
    if name is not None and isinstance(result.get(name), str):
        return str(result[name])
    for kind, word in (("images", "picture"), ("embeddings", "vector")):
        if isinstance(result.get(kind), list):
            count = len(result[kind])
            return f"{count} {word}{'' if count == 1 else 's'}; --out FILE writes them, --json prints them"
    return json.dumps(result)


def save_result(task: str, result: Mapping[str, Any], out: Path) -> list[Path]:
    """Write a result: text as text (or all of it as JSON, if the file is named so), pictures as pictures.

    Returns:
        The files: of several pictures ``NAME-1.SUFFIX`` and so on.

    Raises:
        ClientError: pictures that cannot be read.
    """
    if task == "image_gen" and isinstance(result.get("images"), list) and out.suffix != ".json":
        return _save_pictures(result["images"], out)
    name = _TEXT_OF.get(task)
    is_text = name is not None and out.suffix != ".json" and isinstance(result.get(name), str)
    out.write_text(f"{result[name]}\n" if is_text and name else json.dumps(result, indent=1), encoding="utf-8")
    return [out]


def _save_pictures(pictures: list[Any], out: Path) -> list[Path]:
    written = []
    for number, picture in enumerate(pictures, start=1):
        try:
            data, kind = base64.b64decode(picture["data"], validate=True), picture["media_type"]
        except (TypeError, KeyError, ValueError, binascii.Error) as error:
            from gpunode.errors import ClientError  # noqa: PLC0415 -- --help stays light

            raise ClientError("The result holds pictures that cannot be read.") from error
        path = out if len(pictures) == 1 else out.with_stem(f"{out.stem}-{number}")
        path = path if path.suffix else path.with_suffix(_SUFFIX_OF.get(kind, ""))
        path.write_bytes(data)
        written.append(path)
    return written
