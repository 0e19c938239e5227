"""Failures of the network lab.

GpunodeError
├── LabUnavailable
├── LabFailed
└── WorldInvalid
"""

from gpunode_protocol.errors import GpunodeError


class LabUnavailable(GpunodeError):
    """The network lab needs root, Linux network namespaces and TUN devices, and one of them is missing here."""


class LabFailed(GpunodeError):
    """Something in the network lab failed. Take it down with ``gpunode bench lab down`` and start it again."""


class WorldInvalid(GpunodeError):
    """The world file is not valid. Correct the lines that are named and try again."""
