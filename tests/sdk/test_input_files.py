import io
from pathlib import Path
from typing import Any

import pytest
from gpunode import _input_files
from gpunode._input_files import read_input
from gpunode.errors import InvalidRequest


def test_what_is_read(tmp_path: Path) -> None:
    """A path in both forms, an open file, bytes."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    for source in (path, str(path), io.BytesIO(b"RIFF"), b"RIFF", bytearray(b"RIFF")):
        assert read_input(source, "audio file") == b"RIFF"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The operating system's reason is kept."""
    with pytest.raises(InvalidRequest, match=r"The audio file .*a\.wav cannot be read: No such file"):
        read_input(tmp_path / "a.wav", "audio file")


def test_no_more_is_read_than_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may have no end."""
    monkeypatch.setattr(_input_files, "MAX_BLOB_BYTES", 1_000)
    with Path("/dev/zero").open("rb") as endless:
        for source in (endless, "/dev/zero", bytes(1_001)):
            with pytest.raises(InvalidRequest, match="the image has more than 1,000 bytes"):
                read_input(source, "image")
    assert read_input(bytes(1_000), "image") == bytes(1_000)


@pytest.mark.parametrize("source", [io.StringIO("text"), None, 7])
def test_what_is_no_file_of_bytes(source: Any) -> None:
    """A file that was opened as text is a common mistake."""
    with pytest.raises(InvalidRequest, match=r"the audio file must be a path, bytes, or .*binary mode \('rb'\)"):
        read_input(source, "audio file")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A recording that was opened as text, which it is not; one that was closed."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"\xff\xfe\xf3")
    with path.open(encoding="utf-8") as text, pytest.raises(InvalidRequest, match="audio file cannot be read"):
        read_input(text, "audio file")  # type: ignore[arg-type]  # -- the mistake that is tested
    closed = path.open("rb")
    closed.close()
    with pytest.raises(InvalidRequest, match="closed file"):
        read_input(closed, "audio file")
