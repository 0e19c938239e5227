"""Which advertised model a caller's name means. Pure.

The aliases are those of gpunode's catalogue, which is a part of the engines and not installed with the client.
"""

from collections.abc import Collection, Mapping
from typing import Final

ALIASES: Final[Mapping[str, str]] = {
    "digits": "digits-diffusion",
    "flux-dev": "flux.1-dev",
    "flux-schnell": "flux.1-schnell",
    "llama-3.2-1b": "llama-3.2-1b-instruct",
    "llama-3.2-3b": "llama-3.2-3b-instruct",
    "minilm": "all-minilm-l6-v2",
    "qwen2.5-0.5b": "qwen2.5-0.5b-instruct",
    "qwen2.5-1.5b": "qwen2.5-1.5b-instruct",
    "qwen2.5-7b": "qwen2.5-7b-instruct",
    "sd-1.5": "stable-diffusion-1.5",
    "sd-3.5-medium": "stable-diffusion-3.5-medium",
    "sd15": "stable-diffusion-1.5",
    "sdxl": "stable-diffusion-xl",
    "smollm2": "smollm2-135m",
    "smollm2-135m-instruct": "smollm2-135m",
    "stable-diffusion-v1-5": "stable-diffusion-1.5",
    "stable-diffusion-xl-base-1.0": "stable-diffusion-xl",
    "whisper": "whisper-small",
    "whisper-large": "whisper-large-v3",
    "whisper-turbo": "whisper-large-v3-turbo",
}
"""In lower case."""


def resolve_name(name: str, names: Collection[str]) -> str | None:
    """Return the advertised name that another, shorter or differently written one means; None if that is not clear.

    ``sdxl`` means ``stable-diffusion-xl``, ``qwen2.5-7b`` means ``qwen2.5-7b-instruct``.
    """
    wanted = name.lower()
    exact = {other for other in names if other.lower() == wanted}
    meant = {other for other in names if other.lower() == ALIASES.get(wanted)}
    near = {other for other in names if _extends(other.lower(), wanted) or _extends(wanted, other.lower())}
    for matches in (exact, meant, near):
        if len(matches) == 1:
            return matches.pop()
    return None


def served_name(name: str, names: Collection[str]) -> str | None:
    """Return by which of some names a model is served, if its name, or an alias of it in the catalogue, is one of them.

    Unlike ``resolve_name``, this takes no name for another one that only begins like it.
    """
    if name in names:
        return name
    meant = catalogue_name(name)
    return next((other for other in names if catalogue_name(other) == meant), None)


def catalogue_name(name: str) -> str:
    """Return, in lower case, the name of the catalogue's model that an alias means, else the name itself."""
    wanted = name.lower()
    return ALIASES.get(wanted, wanted)


def _extends(name: str, prefix: str) -> bool:
    return name.startswith(f"{prefix}-")
