import hashlib
from pathlib import Path

import pytest
from gpunode_engines.errors import ModelError
from gpunode_engines.file_digests import FileDigests
from gpunode_engines.model_files_check import ModelFiles, judge_models, look_at_models
from gpunode_engines.model_lock import LOCK_NAME, LockedFile, LockedModel, ModelLock

DATA = b"weights" * 10
CATALOGUE = ("qwen2.5-7b-instruct", "qwen2.5-7b")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a models folder with one pulled model of one file."""
    folder = tmp_path / "models"
    (folder / "qwen2.5-7b").mkdir(parents=True)
    (folder / "qwen2.5-7b" / "w.gguf").write_bytes(DATA)
    locked = LockedFile(name="w.gguf", size_bytes=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
    ModelLock(folder).put("qwen2.5-7b", LockedModel(repo="o/r", revision="1", files=(locked,)))
    return folder


def _file(models: Path) -> Path:
    return models / "qwen2.5-7b" / "w.gguf"


def test_sound_files(models: Path, tmp_path: Path) -> None:
    """They are read, and nothing is written."""
    assert look_at_models(models, tmp_path / "cache") == [ModelFiles(name="qwen2.5-7b")]
    assert not (tmp_path / "cache").exists()


def test_a_remembered_digest_is_enough(models: Path, tmp_path: Path) -> None:
    """Large files are not read again."""
    FileDigests(tmp_path / "cache").digest(_file(models))
    (state,) = look_at_models(models, tmp_path / "cache", hashed_bytes=0)
    assert (state.problem, state.unread) == ("", 0)


def test_a_large_file_that_was_never_read(models: Path, tmp_path: Path) -> None:
    """Its size has to do, and that is said."""
    states = look_at_models(models, tmp_path, hashed_bytes=len(DATA) - 1)
    assert states == [ModelFiles(name="qwen2.5-7b", unread=1)]
    assert "Of 1 large file only" in judge_models(states, models, CATALOGUE).message


@pytest.mark.parametrize(
    ("content", "problem"),
    [(DATA[:-1] + b"x", "other contents"), (DATA[:-1], "69 bytes instead of 70"), (None, "missing")],
)
def test_damage(models: Path, tmp_path: Path, content: bytes | None, problem: str) -> None:
    """It is named with the command that mends it."""
    _file(models).unlink()
    if content is not None:
        _file(models).write_bytes(content)
    finding = judge_models(look_at_models(models, tmp_path / "cache"), models, CATALOGUE)
    assert (finding.status, finding.fix) == ("failure", "gpunode models pull qwen2.5-7b")
    assert problem in finding.message


def test_other_weights_of_a_model_have_their_own_folder(models: Path) -> None:
    """They are pulled by the model's name."""
    states = [ModelFiles(name="qwen2.5-7b-instruct-transformers", problem="w is missing")]
    assert judge_models(states, models, CATALOGUE).fix == "gpunode models pull qwen2.5-7b-instruct"


def test_nothing_was_pulled(tmp_path: Path) -> None:
    """That is normal before the first start."""
    finding = judge_models(look_at_models(tmp_path, tmp_path), tmp_path, CATALOGUE)
    assert (finding.status, "models pull" in finding.message) == ("ok", True)


def test_a_damaged_lock_file(tmp_path: Path) -> None:
    """It is an error with words of its own."""
    (tmp_path / LOCK_NAME).write_text("{")
    with pytest.raises(ModelError):
        look_at_models(tmp_path, tmp_path)
