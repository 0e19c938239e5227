"""The file of sealing keys, and what rotations do to it."""

from pathlib import Path

import pytest
from gpunode_tracker.errors import InvalidRequest, KeysUnusable
from gpunode_tracker.sealing_key_file import KeyFile, new_key, read_key_file, write_key_file

OLD, NEW, NEXT = new_key(), new_key(), new_key()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """For its owner only, and nothing else is left in the folder."""
    path = tmp_path / "sealing_keys.json"
    for content in (KeyFile((OLD,)), KeyFile((OLD, NEXT), NEXT.id, 5)):
        write_key_file(path, content)
        assert read_key_file(path) == content
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_rotation_keeps_what_opens() -> None:
    """The new key stands first, the old one behind it."""
    assert KeyFile((OLD,)).rotated(NEW, now=7) == KeyFile((NEW, OLD), None, 7)


def test_a_prepared_key_comes_into_use_with_the_next_rotation() -> None:
    """Until then it seals nothing, and it is no old one."""
    prepared = KeyFile((OLD,)).with_prepared(NEXT)
    assert prepared.keys[0] == OLD
    assert prepared.old_keys == ()
    assert prepared.rotated(NEW, now=7) == KeyFile((NEXT, OLD), None, 7)


def test_only_one_is_prepared() -> None:
    """The other trackers may have it by now."""
    with pytest.raises(InvalidRequest, match=NEXT.id.hex()):
        KeyFile((OLD,)).with_prepared(NEXT).with_prepared(NEW)


def test_old_keys_go_and_the_prepared_one_stays() -> None:
    """It is needed next."""
    content = KeyFile((NEW, OLD, NEXT), NEXT.id, 7)
    assert content.old_keys == (OLD,)
    assert content.without_old_keys() == KeyFile((NEW, NEXT), NEXT.id, 7)


def test_keys_are_not_shown() -> None:
    """In logs and tracebacks their ids are enough."""
    assert OLD.id.hex() in repr(KeyFile((OLD,)))
    assert repr(OLD.secret) not in repr(KeyFile((OLD,)))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(KeysUnusable, match="nowhere"):
        read_key_file(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": 7}', "[" * 100_000])
def test_a_damaged_file(tmp_path: Path, content: str) -> None:
    """It is not replaced: what is sealed with its keys would be lost."""
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(KeysUnusable, match="not a file of sealing keys"):
        read_key_file(path)
    assert path.read_text() == content
