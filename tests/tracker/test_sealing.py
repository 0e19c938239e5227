from pathlib import Path

import pytest
from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.sealing import Sealer, key_id_of
from gpunode_tracker.sealing_key_file import KeyFile, new_key, write_key_file


def test_what_was_sealed_opens_in_its_place_only() -> None:
    """The context is authenticated: a result cannot be shown as another job's."""
    sealer = Sealer((new_key(),))
    sealed = sealer.seal(b"secret prompt", "jobs.params/1")
    assert sealer.open(sealed, "jobs.params/1") == b"secret prompt"
    with pytest.raises(KeysUnusable, match="belongs elsewhere"):
        sealer.open(sealed, "jobs.params/2")


@pytest.mark.parametrize("position", [20, -1])
def test_a_changed_value_does_not_open(position: int) -> None:
    """In the ciphertext or its tag."""
    sealer = Sealer((new_key(),))
    sealed = bytearray(sealer.seal(b"0123456789", "x"))
    sealed[position] ^= 1
    with pytest.raises(KeysUnusable):
        sealer.open(bytes(sealed), "x")


def test_nothing_readable_is_stored() -> None:
    """And the same text never looks the same."""
    sealer = Sealer((new_key(),))
    first, second = (sealer.seal(b"secret prompt", "x") for _ in range(2))
    assert b"secret" not in first
    assert first != second


def test_older_keys_still_open_and_the_newest_seals(tmp_path: Path) -> None:
    """That is what rotation needs."""
    old, new = new_key(), new_key()
    sealed = Sealer((old,)).seal(b"before", "x")
    write_key_file(tmp_path / "keys.json", KeyFile((new, old)))
    sealer = Sealer.from_file(tmp_path / "keys.json")
    assert sealer.open(sealed, "x") == b"before"
    assert key_id_of(sealer.seal(b"after", "x")) == new.id
    assert sealer.has_old_keys


def test_a_missing_key_says_so() -> None:
    """With its id, so that the operator finds the file."""
    sealed = Sealer((new_key(),)).seal(b"lost", "x")
    with pytest.raises(KeysUnusable, match=sealed[1:5].hex()):
        Sealer((new_key(),)).open(sealed, "x")


def test_the_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    """A second start finds the same keys."""
    path = tmp_path / "keys.json"
    first = Sealer.from_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Sealer.from_file(path).keys == first.keys


@pytest.mark.parametrize("content", ["", "{}", '{"keys": []}', '{"keys": [{"id": "00", "key": "AA=="}]}', "[1]"])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    """And never overwritten: it may be the only copy."""
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(KeysUnusable):
        Sealer.from_file(path)
    assert path.read_text() == content
