"""Asking a daemon that may not run."""

import os
import socket
from pathlib import Path

import pytest
from gpunode_node.control_client import ask_daemon
from gpunode_node.errors import DaemonNotRunning


def test_no_daemon(tmp_path: Path) -> None:
    """No socket, and one that nobody listens at, both mean that none runs."""
    path = tmp_path / "c.sock"
    with pytest.raises(DaemonNotRunning, match="gpunode start"):
        ask_daemon(path, "status")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(DaemonNotRunning, match=r"c\.sock"):
        ask_daemon(path, "status")


def test_somebody_elses_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a shared folder another user may have taken the name: nothing is sent there."""
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        stranger = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: stranger)
        with pytest.raises(DaemonNotRunning):
            ask_daemon(path, "link", {"api_key": "secret"})
