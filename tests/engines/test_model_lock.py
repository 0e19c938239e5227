from pathlib import Path

import pytest
from gpunode_engines.errors import ModelError
from gpunode_engines.model_lock import LOCK_NAME, LockedFile, LockedModel, ModelLock
from pydantic import ValidationError

LOCKED = LockedModel(repo="a/b", revision="abc", files=(LockedFile(name="x.gguf", size_bytes=3, sha256="0" * 64),))


def test_what_is_put_is_found_again(tmp_path: Path) -> None:
    """Also by another object, and beside other models."""
    ModelLock(tmp_path / "models").put("one", LOCKED)
    ModelLock(tmp_path / "models").put("two", LOCKED)
    lock = ModelLock(tmp_path / "models")
    assert lock.get("one") == lock.get("two") == LOCKED
    assert lock.get("three") is None


def test_without_a_file_nothing_is_locked(tmp_path: Path) -> None:
    """The first pull starts from nothing."""
    assert ModelLock(tmp_path).get("one") is None


def test_a_damaged_lock_is_an_error(tmp_path: Path) -> None:
    """Forgetting digests silently would defeat them."""
    (tmp_path / LOCK_NAME).write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        ModelLock(tmp_path).get("one")


@pytest.mark.parametrize("name", ["../x.gguf", "/etc/passwd", "a//b.gguf", ".hidden", ""])
def test_file_names_stay_in_the_folder(name: str) -> None:
    """A hub cannot make us write elsewhere."""
    with pytest.raises(ValidationError):
        LockedFile(name=name, size_bytes=1, sha256="0" * 64)
