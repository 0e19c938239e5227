"""JSON of strangers."""

from pathlib import Path

import pytest
from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.json_object import parse_object, read_object


def test_an_object_is_read(tmp_path: Path) -> None:
    """As it is."""
    (tmp_path / "config.json").write_text('{"a": [1]}')
    assert read_object(tmp_path / "config.json") == {"a": [1]}


@pytest.mark.parametrize("data", [b"{", b"", b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_json_is_an_error_of_the_model(data: bytes) -> None:
    """Depth without end included."""
    with pytest.raises(UnreadableWeights, match=r"x\.json is not a usable JSON file"):
        parse_object(data, "x.json")


@pytest.mark.parametrize("data", [b"[1, 2]", b"1", b'"a"', b"null"])
def test_other_values_are_no_object(data: bytes) -> None:
    """Whoever reads asks for names."""
    with pytest.raises(UnreadableWeights, match="holds no JSON object"):
        parse_object(data, "x.json")


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    """After so much of it as a model could need."""
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnreadableWeights, match=r"config\.json is longer than 8 MiB"):
        read_object(tmp_path / "config.json")


def test_a_missing_file_is_an_error_of_the_model(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(UnreadableWeights, match=r"config\.json cannot be read: No such file"):
        read_object(tmp_path / "config.json")
