from pathlib import Path

import pytest
from gpunode_engines.catalogue import Catalogue, HubSource, PackageSource, default_catalogue, resolve_model
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
    with pytest.raises(ModelNotFound, match="Known models: none"):
        default_catalogue().resolve("smollm2-135m", Task.WHISPER)


def test_every_entry_can_be_served() -> None:
    """Each backend is registered, and each source is complete."""
    for entry in default_catalogue().entries:
        assert entry.backend in BACKEND_EXTRAS
        match entry.source:
            case HubSource(repo=repo, patterns=(pattern, *_)):
                assert repo.count("/") == 1
                assert pattern.endswith(".gguf")
            case PackageSource(patterns=(file, *_)):
                assert file.endswith(".gguf")


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
