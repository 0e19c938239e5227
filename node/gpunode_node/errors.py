"""Errors of the node.

::

    NodeError
    ├── InvalidSettings       a setting that cannot be used
    ├── NoBootstrap           no tracker was named
    ├── TrackerUnreachable    no answer, or one that is not the tracker's
    │   ├── TrackerBusy       it does not serve the request now
    │   └── TrackerUntrusted  its TLS certificate cannot be checked
    ├── TrackerRefused        the tracker answered with a problem
    ├── OtherNetwork          the tracker speaks for another network than the pinned one
    ├── ClockOff              this computer's clock is too far from the tracker's
    ├── RegionUnknown         neither configured nor found out
    ├── NodeFolderInUse       another daemon has this data directory
    ├── DaemonNotRunning      nothing answers at the control socket
    ├── ControlRefused        the daemon answered a command with an error
    ├── StateUnwritable       a file or database of the node cannot be written
    └── NodeMemoryFull        the process took more memory than it may
"""

from gpunode_protocol.errors import GpunodeError


class NodeError(GpunodeError):
    """The node failed."""


class InvalidSettings(NodeError):
    """A setting of the node cannot be used. See `gpunode start --help`."""


class NoBootstrap(NodeError):
    """No tracker was named. Say which network to join with --bootstrap HOST, such as tracker.example."""


class TrackerUnreachable(NodeError):
    """The tracker does not answer. Check the address and the network connection."""


class TrackerBusy(TrackerUnreachable):
    """The tracker does not serve the request now.

    Args:
        message: what it answered.
        limited: it never looked at the request, because too many came.
        retry_after_s: when it wants to be asked again, in seconds; None where it does not say.
    """

    def __init__(self, message: str, *, limited: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.limited = limited
        self.retry_after_s = retry_after_s


class TrackerUntrusted(TrackerUnreachable):
    """The tracker's certificate is not trusted. If it uses its own authority, name that with --ca-file."""


class TrackerRefused(NodeError):
    """The tracker refused a request.

    Args:
        status: HTTP status, 300 to 499.
        detail: the tracker's words.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"The tracker refused the request ({status}): {detail or 'it gave no reason'}")
        self.status = status


class OtherNetwork(NodeError):
    """The tracker speaks for another network than the one that this node joined first."""


class ClockOff(NodeError):
    """This computer's clock is wrong. Set it by NTP."""


class RegionUnknown(NodeError):
    """The tracker could not tell where this node is. Say it with --region asia, europe, america, africa or oceania."""


class NodeFolderInUse(NodeError):
    """Another node runs in this data directory. Stop it, or choose another one with --data-dir."""


class DaemonNotRunning(NodeError):
    """No node runs here. Start one with `gpunode start`, or name its folder with --data-dir."""


class ControlRefused(NodeError):
    """The node could not do what was asked."""


class StateUnwritable(NodeError):
    """The node's data directory cannot be written. Free some disk space, or check its permissions."""


class NodeFolderLost(NodeError):
    """The node's data directory was deleted, moved or replaced while the node ran, and so the node has ended."""


class NodeMemoryFull(NodeError):
    """The node took more memory than it may, and ended. Start it again."""
