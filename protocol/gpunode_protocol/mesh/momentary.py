"""A mesh for a moment: to see whether it works from here, without leaving a trace on this machine or on others."""

import contextlib
import tempfile
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NoReturn

from gpunode_protocol.mesh import Mesh, MeshConfig, create_mesh
from gpunode_protocol.mesh.errors import RecordRejected

STARTUP_TIMEOUT_S = 30.0

_one_import = threading.Lock()
"""A thread that waits for another one's import which then fails gets an error that does not name what is missing."""


class _RefuseAll:
    """Validator of a peer that neither stores nor looks for records."""

    def validate(self, key: str, subkey: str, value: bytes, expires_at: float, now: float) -> NoReturn:  # noqa: ARG002 -- the protocol's signature
        raise RecordRejected("not_wanted")


@contextlib.asynccontextmanager
async def momentary_mesh(
    *, bootstrap: Sequence[str] = (), listen: Sequence[str] = (), quic: bool = True
) -> AsyncIterator[Mesh]:
    """Run a started mesh with a fresh key, as a client, in a folder that goes away with it.

    Args:
        bootstrap: multiaddrs to join by; none = stay alone. listen: multiaddrs; none = do not listen.

    Raises:
        ModuleNotFoundError: hivemind is not installed. P2pdFailed, MeshUnavailable: p2pd does not start or answer.
        PortInUse: another program has a port of ``listen``.
    """
    with tempfile.TemporaryDirectory(prefix="gpn-") as folder:
        config = MeshConfig(
            identity_path=Path(folder) / "identity.key",
            state_dir=Path(folder),
            listen_addresses=tuple(listen),
            bootstrap=tuple(bootstrap),
            client_mode=True,
            quic=quic,
            startup_timeout_s=STARTUP_TIMEOUT_S,
        )
        with _one_import:
            mesh = create_mesh(config, _RefuseAll())
        await mesh.start()
        try:
            yield mesh
        finally:
            await mesh.stop()
