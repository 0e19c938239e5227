"""The user's own models beside the shipped ones."""

import re
from pathlib import Path

import pytest
from gpunode_engines.config import EngineSettings
from gpunode_engines.errors import ModelsFileUnusable
from gpunode_engines.own_models import known_models

MINE = """
[[model]]
name = "%s"
aliases = ["%s"]
task = "llm"
backend = "llamacpp"
licence = "MIT"
parameters = 1_000_000
bits_per_weight = 4.5
context_tokens = 2048
slots = 2
source = { kind = "hub", repo = "me/mine", patterns = ["*.gguf"] }
"""

SERVED = re.sub(r"source = .*", 'source = { kind = "server", url = "%%s", model = "m" }', MINE) % ("mine", "a")
SERVED = SERVED.replace("llamacpp", "openai")


def _in_folder(name: str, folder: str) -> str:
    """Return a model whose files are kept in a folder of that name."""
    return MINE.replace("[[model]]", f'[[model]]\nfolder = "{folder}"') % (name, f"{name}-alias")


def _settings(tmp_path: Path, content: str) -> EngineSettings:
    path = tmp_path / "models.toml"
    path.write_text(content)
    return EngineSettings(models_file=path)


def test_own_models_stand_beside_the_shipped_ones(tmp_path: Path) -> None:
    """Both resolve."""
    catalogue = known_models(_settings(tmp_path, MINE % ("mine", "my-model")))
    assert catalogue.resolve("My-Model").name == "mine"
    assert catalogue.resolve("qwen2.5-7b").name == "qwen2.5-7b-instruct"


def test_without_a_file_the_shipped_ones_are_known() -> None:
    """The default."""
    assert "smollm2-135m" in known_models(EngineSettings()).names


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (MINE % ("qwen2.5-7b", "mine"), r"names of shipped models: qwen2\.5-7b\."),
        (MINE % ("mine", "SmolLM2"), "names of shipped models: smollm2"),
        (MINE % ("mine", "a") + MINE % ("mine", "b"), "share a name"),
        (MINE.replace("slots = 2", "slots = 0") % ("mine", "a"), "slots"),
        (MINE.replace("hub", "ftp") % ("mine", "a"), "source"),
        ("[[model", "is not TOML"),
        ("model = 5", r"Models must be \[\[model\]\] tables"),
        (MINE.replace("[[model]]", "[model]") % ("mine", "a"), r"Models must be \[\[model\]\] tables"),
        (MINE.replace("[[model]]", "[[models]]") % ("mine", "a"), "models is not known"),
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        (MINE.replace("llamacpp", "llamacp") % ("mine", "a"), "no backend 'llamacp' for llm"),
        (MINE.replace("llamacpp", "faster-whisper") % ("mine", "a"), "no backend 'faster-whisper' for llm"),
        (MINE % ("mine", "../a"), "aliases"),
        (MINE.replace("[[model]]", '[[model]]\nfolder = ".."') % ("mine", "a"), "folder"),
        (re.sub(r"bits_per_weight = .*", "bits_per_weight = inf", MINE) % ("mine", "a"), "bits_per_weight"),
        (re.sub(r"parameters = .*", "parameters = 1" + "0" * 400, MINE) % ("mine", "a"), "parameters"),
        (MINE.replace("llamacpp", "openai") % ("mine", "a"), "backend openai needs a source of the kind server"),
        (SERVED.replace("openai", "llamacpp") % "http://127.0.0.1:8000", "llamacpp cannot use a source of the kind s"),
        (SERVED % "https://127.0.0.1", r"source\.server\.url: .*https://127\.0\.0\.1 must look like http://"),
        (SERVED % "http://127.0.0.1:99999", r"source\.server\.url: .*99999 cannot be read"),
        (SERVED % "127.0.0.1:8000", r"source\.server\.url: .*must look like"),
        (_in_folder("b", "mine") + MINE % ("mine", "a"), "'b' and 'mine' are kept in one folder, mine"),
        (_in_folder("b", "Mine") + MINE % ("mine", "a"), "'b' and 'mine' are kept in one folder"),
        (_in_folder("b", "qwen2.5-7b-instruct"), r"'qwen2\.5-7b-instruct' and 'b' are kept in one folder"),
        (_in_folder("b", "qwen2.5-7b-instruct-transformers"), r"'qwen2\.5-7b-instruct' and 'b' are kept in one folder"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, named: str) -> None:
    """With the file."""
    with pytest.raises(ModelsFileUnusable, match=named) as caught:
        known_models(_settings(tmp_path, content))
    assert str(tmp_path) in str(caught.value)


def test_a_model_may_have_a_folder_of_another_name(tmp_path: Path) -> None:
    """One that no other model uses."""
    assert known_models(_settings(tmp_path, _in_folder("b", "elsewhere"))).resolve("b").stored_as == "elsewhere"


def test_a_server_s_model_is_known(tmp_path: Path) -> None:
    """By the backend that speaks to servers."""
    assert known_models(_settings(tmp_path, SERVED % "http://127.0.0.1:8000/v1")).resolve("mine").backend == "openai"


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """It was named on purpose."""
    with pytest.raises(ModelsFileUnusable, match="cannot be read"):
        known_models(EngineSettings(models_file=tmp_path / "none.toml"))
