from concurrent.futures import ThreadPoolExecutor
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


def test_records_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    """Pulls of different models side by side; one that is removed meanwhile takes no other with it."""
    lock = ModelLock(tmp_path)
    lock.put("old", LOCKED)
    names = [f"model-{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(ModelLock(tmp_path).put, name, LOCKED) for name in names]:
            done.add_done_callback(lambda _: lock.drop("old"))
    assert sorted(lock.all()) == sorted(names)
