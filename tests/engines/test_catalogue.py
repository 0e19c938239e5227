from pathlib import Path

import pytest
from gpunode_engines.catalogue import Catalogue, HubSource, default_catalogue, resolve_model
from gpunode_engines.errors import ModelNotFound
from gpunode_engines.registry import BACKEND_EXTRAS
from gpunode_protocol.tasks import Task


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("smollm2-135m", "smollm2-135m"),
        ("SmolLM2", "smollm2-135m"),
        ("qwen2.5-7b", "qwen2.5-7b-instruct"),
        ("Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
    ],
)
def test_names_and_aliases_resolve(name: str, resolved: str) -> None:
    """Case does not matter."""
    assert resolve_model(name).name == resolved


def test_an_unknown_model_lists_what_exists() -> None:
    """The message names the models and the closest one."""
    with pytest.raises(ModelNotFound, match=r"Did you mean qwen2\.5-7b-instruct\?.*smollm2-135m"):
        resolve_model("qwen2.5-7b-instrukt")


def test_a_model_of_another_task_is_not_found() -> None:
    """A chat model does not transcribe."""
    with pytest.raises(ModelNotFound, match="There is no model 'smollm2-135m'"):
        default_catalogue().resolve("smollm2-135m", Task.WHISPER)


def test_every_entry_can_be_served() -> None:
    """Each backend is registered, and no source names weights that are not loaded."""
    for entry in default_catalogue().entries:
        assert entry.backend in BACKEND_EXTRAS
        if isinstance(entry.source, HubSource):
            assert entry.source.repo.count("/") == 1
        weights = [name for name in entry.source.patterns if not name.endswith((".json", ".txt", "*"))]
        assert weights
        assert all(name.endswith((".gguf", ".safetensors", "model.bin")) for name in weights)


def test_image_models_say_what_suits_them() -> None:
    """Others have no such defaults."""
    for entry in default_catalogue().entries:
        assert (entry.defaults is not None) == (entry.task is Task.IMAGE_GEN)
    defaults = resolve_model("digits").defaults
    assert defaults is not None
    assert (defaults.width, defaults.height, defaults.steps, defaults.guidance) == (32, 32, 20, 3.0)


@pytest.mark.parametrize(("name", "gated"), [("sdxl", False), ("sd-3.5-medium", True), ("flux-dev", True)])
def test_gated_models_are_marked(name: str, gated: bool) -> None:
    """The hub gives those only to accounts."""
    assert resolve_model(name).gated is gated


def test_weights_for_cuda_are_complete() -> None:
    """Weights, config and tokenizer of another backend, kept apart from the other weights."""
    variants = [variant for entry in default_catalogue().entries if (variant := entry.for_cuda()) is not None]
    assert [variant.name for variant in variants] == [
        "qwen2.5-0.5b-instruct",
        "qwen2.5-1.5b-instruct",
        "qwen2.5-7b-instruct",
        "llama-3.2-1b-instruct",
        "llama-3.2-3b-instruct",
    ]
    assert [variant.gated for variant in variants] == [False, False, False, True, True]
    for variant in variants:
        assert variant.backend == "transformers"
        assert {"*.safetensors", "*.json"} <= set(variant.source.patterns)
        assert variant.stored_as != variant.name
        assert variant.for_cuda() is None
    assert resolve_model("smollm2").for_cuda() is None
    assert resolve_model("smollm2").stored_as == "smollm2-135m"


def test_memory_counts_weights_and_caches() -> None:
    """Each slot has its own cache of the whole context."""
    entry = resolve_model("qwen2.5-7b")
    assert entry.memory_bytes(weights_bytes=1000, context_tokens=10) == 1000 + 4 * 10 * 57_344
    assert 4e9 < entry.weights_bytes() < 5e9


def test_a_name_cannot_stand_for_two_models() -> None:
    """Ambiguous catalogues are refused."""
    entry = resolve_model("smollm2")
    with pytest.raises(ValueError, match="share a name"):
        Catalogue((entry, entry.model_copy(update={"name": "other"})))


def test_a_misspelt_field_is_an_error(tmp_path: Path) -> None:
    """A catalogue says nothing that is ignored."""
    path = tmp_path / "models.toml"
    path.write_text('[[model]]\nname = "x"\nlicense = "MIT"\n')
    with pytest.raises(ValueError, match="license"):
        Catalogue.read(path)
