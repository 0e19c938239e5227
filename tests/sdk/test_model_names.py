"""Names of models as callers write them."""

import pytest
from gpunode._model_names import ALIASES, resolve_name, served_name
from gpunode_engines.catalogue import default_catalogue

NAMES = (
    "smollm2-135m",
    "qwen2.5-0.5b-instruct",
    "qwen2.5-7b-instruct",
    "llama",
    "stable-diffusion-xl",
    "whisper-large-v3-turbo",
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("llama", "llama"),
        ("LLAMA", "llama"),
        ("qwen2.5-7b", "qwen2.5-7b-instruct"),
        ("Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
        ("SmolLM2-135M-Instruct", "smollm2-135m"),
        ("smollm2", "smollm2-135m"),
        ("sdxl", "stable-diffusion-xl"),
        ("Whisper-Turbo", "whisper-large-v3-turbo"),
        ("qwen2.5", None),
        ("qwen", None),
        ("mistral", None),
    ],
)
def test_a_name_means_the_one_model_that_it_can_mean(name: str, meant: str | None) -> None:
    """Whole parts between dashes, in either direction; never a guess between two."""
    assert resolve_name(name, NAMES) == meant


def test_an_exact_name_wins_over_longer_ones() -> None:
    """``a`` is ``a``, although ``a-b`` begins with it."""
    assert resolve_name("a", ("a", "a-b")) == "a"


def test_a_model_of_that_very_name_wins_over_an_alias() -> None:
    """Somebody's own model may be called as another one's alias."""
    assert resolve_name("sdxl", ("sdxl", "stable-diffusion-xl")) == "sdxl"


def test_an_alias_wins_over_longer_names() -> None:
    """A model that only begins like that does not make it unclear what a name of the catalogue means."""
    assert resolve_name("qwen2.5-7b", ("qwen2.5-7b-instruct", "qwen2.5-7b-of-somebody")) == "qwen2.5-7b-instruct"


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("qwen2.5-7b-instruct", "qwen2.5-7b-instruct"),
        ("Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
        ("qwen2.5-7b", "qwen2.5-7b-instruct"),
        ("stable-diffusion-xl", "SDXL"),
        ("Llama", "llama"),
        ("qwen2.5-7b-instruct-q4", None),
        ("qwen2.5", None),
        ("llama-3.2-1b", None),
    ],
)
def test_by_which_name_a_model_is_served(name: str, served: str | None) -> None:
    """The same, in other letters or by an alias of the catalogue on either side; nothing is guessed."""
    assert served_name(name, ("qwen2.5-7b-instruct", "SDXL", "llama")) == served


def test_the_very_name_is_served_before_an_alias() -> None:
    """Somebody's own model may be called as another one's alias."""
    assert served_name("sdxl", ("stable-diffusion-xl", "sdxl")) == "sdxl"


def test_every_alias_of_the_catalogue_is_understood() -> None:
    """Written down twice, because clients import no engines: the client understands them all, and no others."""
    entries = default_catalogue().entries
    names = [entry.name for entry in entries]
    aliases = {alias: entry.name for entry in entries for alias in entry.aliases}
    assert {alias: resolve_name(alias, names) for alias in aliases} == aliases
    lower = {alias.lower(): name for alias, name in aliases.items()}
    assert {alias: name for alias, name in lower.items() if alias != name} == ALIASES
