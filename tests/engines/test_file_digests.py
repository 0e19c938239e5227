import errno
import hashlib
import os
from pathlib import Path

import pytest
from gpunode_engines import file_digests
from gpunode_engines.file_digests import CACHE_NAME, FileDigests, compute_digest, weights_digest


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file with known content."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    return path


def test_the_digest_is_sha256(model: Path, tmp_path: Path) -> None:
    """Computed from the file's bytes."""
    assert FileDigests(tmp_path / "cache").digest(model) == hashlib.sha256(b"weights").digest() == compute_digest(model)


def test_a_known_file_is_not_read_again(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path, size and time are enough; also after a restart."""
    digest = FileDigests(tmp_path).digest(model)
    monkeypatch.delattr(file_digests, "compute_digest")
    assert FileDigests(tmp_path).digest(model) == digest


def test_a_changed_file_is_read_again(model: Path, tmp_path: Path) -> None:
    """A new modification time counts, even with the same size."""
    digests = FileDigests(tmp_path)
    digests.digest(model)
    model.write_bytes(b"WEIGHTS")
    os.utime(model, ns=(1, 1))
    assert digests.digest(model) == hashlib.sha256(b"WEIGHTS").digest()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": "short"}', "[" * 100_000])
def test_a_damaged_cache_is_ignored(model: Path, tmp_path: Path, content: str) -> None:
    """The cache is never needed."""
    (tmp_path / CACHE_NAME).write_text(content)
    assert FileDigests(tmp_path).digest(model) == hashlib.sha256(b"weights").digest()


def test_a_digest_that_is_none_is_ignored(model: Path, tmp_path: Path) -> None:
    """64 characters that are no hex digits."""
    FileDigests(tmp_path).digest(model)
    cache = tmp_path / CACHE_NAME
    cache.write_text(cache.read_text().replace(hashlib.sha256(b"weights").hexdigest(), "z" * 64))
    assert FileDigests(tmp_path).digest(model) == hashlib.sha256(b"weights").digest()


def test_several_files_have_one_digest() -> None:
    """One file keeps its own digest; the order of several matters."""
    one, two = bytes(32), bytes([1]) * 32
    assert weights_digest([one]) == one
    assert weights_digest([one, two]) == hashlib.sha256(one + two).digest() != weights_digest([two, one])


def test_a_cache_that_cannot_be_written_is_done_without(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full or read-only disk costs time at the next start, not the model; no draft is left on it."""

    def full(_: Path, __: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    digests = FileDigests(tmp_path / "cache")
    assert digests.digest(model) == hashlib.sha256(b"weights").digest()
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").write_text("")
    assert FileDigests(tmp_path / "file" / "cache").digest(model) == hashlib.sha256(b"weights").digest()
