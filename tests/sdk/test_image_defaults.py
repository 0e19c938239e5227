"""The client's defaults are the catalogue's."""

from gpunode._image_defaults import DEFAULT_OF_OTHERS, DEFAULTS, image_defaults
from gpunode_engines.catalogue import default_catalogue


def test_every_image_model_of_the_catalogue_has_its_defaults() -> None:
    """Written down twice, because clients import no engines: equal they must be."""
    told = {
        entry.name: (entry.defaults.width, entry.defaults.height, entry.defaults.steps, entry.defaults.guidance)
        for entry in default_catalogue().entries
        if entry.defaults is not None
    }
    assert told == {name: tuple(defaults) for name, defaults in DEFAULTS.items()}


def test_models_that_are_not_known() -> None:
    """Stable Diffusion 1.5's suit most."""
    assert image_defaults(None) == image_defaults("my-own") == DEFAULT_OF_OTHERS
    assert image_defaults("Digits-Diffusion").width == 32


def test_an_alias_has_its_models_defaults() -> None:
    """The client signs sizes and steps before it knows which node draws."""
    assert image_defaults("sdxl") == DEFAULTS["stable-diffusion-xl"]
