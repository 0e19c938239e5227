"""What the node's checks look at: settings, folder, the running daemon. Nothing is written."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from gpunode_protocol.diagnosis import Subject
from gpunode_protocol.tracker_api import NetworkInfo
from pydantic import ValidationError

from gpunode_node.config import NodeSettings
from gpunode_node.control_client import ask_daemon
from gpunode_node.errors import DaemonNotRunning, TrackerRefused, TrackerUnreachable
from gpunode_node.node_folder import NodeFolder
from gpunode_node.state_files import read_json
from gpunode_node.tracker_client import TrackerClient, trusted_by


class NodeFacts:
    """Gathers lazily, from any thread.

    Args:
        subject: whose settings count.
        unix_time: seconds.
    """

    def __init__(self, subject: Subject, unix_time: Callable[[], float] = time.time) -> None:
        self._subject = subject
        self._lock = threading.Lock()
        self._status: dict[str, Any] | None = None
        self._was_asked = False
        self.unix_time = unix_time

    def settings(self) -> NodeSettings:
        """Return the node's settings.

        Raises:
            InvalidSettings: they cannot be used.
        """
        subject = self._subject
        return NodeSettings.load(
            {
                "bootstrap": subject.tracker,
                "ca_file": subject.ca_file,
                "insecure": subject.insecure,
                "data_dir": subject.data_dir,
            }
        )

    def usable_settings(self) -> NodeSettings:
        """Return the node's settings, whose address of a tracker and file of authorities can be used, if set.

        Raises:
            InvalidSettings, BadTrackerAddress: they cannot be used.
        """
        settings = self.settings()
        if settings.bootstrap:
            _ = settings.tracker
        trusted_by(settings.ca_file)
        return settings

    def folder(self) -> NodeFolder:
        """Return the node's folder."""
        return NodeFolder(self.settings().data_dir)

    def status(self) -> dict[str, Any] | None:
        """Return what the running daemon says; None = none runs."""
        with self._lock:
            if not self._was_asked:
                try:
                    self._status = ask_daemon(self.folder().control, "status")
                except DaemonNotRunning:
                    self._status = None
                self._was_asked = True
        return self._status

    def kept_network(self) -> NetworkInfo | None:
        """Return what the node's last run knew of the network, unverified."""
        stored = read_json(self.folder().network)
        try:
            return NetworkInfo.model_validate_json(stored["info"])
        except (TypeError, KeyError, ValueError, ValidationError):
            return None

    def network(self) -> NetworkInfo | None:
        """Return the tracker's network info, else the kept one; unverified. None = neither is there.

        Why the tracker does not tell it is told by another check, of the tracker itself.

        Raises:
            BadTrackerAddress: the tracker's address, or its file of authorities, cannot be used.
        """
        settings = self.settings()
        if not settings.bootstrap:
            return self.kept_network()
        try:
            return asyncio.run(_asked(TrackerClient(settings.tracker, ca_file=settings.ca_file, attempts=1)))
        except (TrackerUnreachable, TrackerRefused):
            return self.kept_network()


async def _asked(tracker: TrackerClient) -> NetworkInfo:
    try:
        return await tracker.network()
    finally:
        await tracker.close()
