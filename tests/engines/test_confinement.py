"""Levels and their names."""

from pathlib import Path

import pytest
from gpunode_engines.confinement import FULL_LEVEL, Confinement, SandboxPolicy


@pytest.mark.parametrize(
    ("confinement", "level"),
    [
        (Confinement(), 0),
        (Confinement(files=True, system_calls=True), 0),  # privileges could be gained: the rest means little
        (Confinement(no_new_privileges=True), 1),
        (Confinement(no_new_privileges=True, files=True), 2),
        (Confinement(no_new_privileges=True, system_calls=True), 2),
        (Confinement(no_new_privileges=True, files=True, system_calls=True), FULL_LEVEL),
    ],
)
def test_levels(confinement: Confinement, level: int) -> None:
    """They are what adverts carry."""
    assert confinement.level == level
    assert len(confinement.active()) + len(confinement.lacks()) == 3


def test_names_are_for_people() -> None:
    """Everything is either active or lacking."""
    confinement = Confinement(no_new_privileges=True, files=True)
    assert confinement.active() == ("no new privileges", "files by Landlock")
    assert confinement.lacks() == ("system calls by seccomp",)


def test_private_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They need not exist yet."""
    monkeypatch.chdir(tmp_path)
    assert SandboxPolicy.of("strict", Path("node")).private == (str(tmp_path / "node"),)
