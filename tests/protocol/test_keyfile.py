import os
import stat
from pathlib import Path

import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyfile import IdentityFileError, load_identity, load_or_create_identity


def test_new_file_is_private_and_in_libp2p_format(tmp_path: Path) -> None:
    """The first start writes a key that only its owner can read, and nothing besides."""
    path = tmp_path / "keys" / "identity.key"
    identity = load_or_create_identity(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == identity.to_libp2p()
    assert [file.name for file in path.parent.iterdir()] == ["identity.key"]


def test_second_start_has_the_same_identity(tmp_path: Path) -> None:
    """An existing key is used, not replaced."""
    path = tmp_path / "identity.key"
    assert load_or_create_identity(path).peer_id == load_or_create_identity(path).peer_id


def test_umask_does_not_widen_the_mode(tmp_path: Path) -> None:
    """The mode is 0600 whatever the umask is."""
    before = os.umask(0)
    try:
        load_or_create_identity(tmp_path / "identity.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "identity.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_file_open_to_others_is_refused_and_kept(tmp_path: Path, mode: int) -> None:
    """A key that others may read or write is not used; the message says what to do."""
    path = tmp_path / "identity.key"
    path.write_bytes(Identity.generate().to_libp2p())
    path.chmod(mode)
    before = path.read_bytes()
    with pytest.raises(IdentityFileError, match="chmod 600"):
        load_or_create_identity(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", Identity.from_seed(bytes(32)).to_libp2p()[:-1], Identity.from_seed(bytes(32)).to_libp2p() + b"x"],
    ids=["empty", "text", "truncated", "too long"],
)
def test_malformed_file_is_refused_and_kept(tmp_path: Path, data: bytes) -> None:
    """Nothing is lost when the file is not a key: it stays as it is."""
    path = tmp_path / "identity.key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(IdentityFileError, match="Nothing was changed"):
        load_or_create_identity(path)
    assert path.read_bytes() == data


def test_swapped_public_key_is_noticed(tmp_path: Path) -> None:
    """A file whose public key belongs to another seed is damaged."""
    path = tmp_path / "identity.key"
    path.write_bytes(Identity.generate().to_libp2p()[:-32] + Identity.generate().public_key)
    path.chmod(0o600)
    with pytest.raises(IdentityFileError, match="do not belong together"):
        load_identity(path)


def test_unwritable_folder_is_explained(tmp_path: Path) -> None:
    """A path below a file cannot hold a key."""
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityFileError, match="cannot be"):
        load_or_create_identity(tmp_path / "file" / "identity.key")


def test_loser_of_a_race_takes_the_winners_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that start at once end up with one key."""
    path = tmp_path / "identity.key"
    winner = Identity.generate()

    def generate_while_other_wins() -> Identity:
        path.write_bytes(winner.to_libp2p())
        path.chmod(0o600)
        return Identity.from_seed(bytes(32))

    monkeypatch.setattr(Identity, "generate", generate_while_other_wins)
    assert load_or_create_identity(path).peer_id == winner.peer_id
    assert [file.name for file in tmp_path.iterdir()] == ["identity.key"]
