"""The Go daemon p2pd (go-libp2p), which hivemind's wheel ships: its flags, its start and its end."""

import asyncio
import contextlib
import errno
import importlib.util
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from gpunode_protocol.mesh import _p2pd_launcher
from gpunode_protocol.mesh.config import MeshConfig
from gpunode_protocol.mesh.errors import P2pdFailed, PortInUse
from gpunode_protocol.mesh.multiaddrs import ip_of, is_quic, port_of

_log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 256 * 1024
"""Largest unary message (DHT requests and replies) that p2pd reads from a peer: a key's 64 adverts fit twice. p2pd
allocates what a message's header announces before the rest has come."""

_READY_LINE = "Peer ID:"
_SOFT_MEMORY_SHARE = 0.5  # Go collects garbage harder and returns memory from here on
DATA_LIMIT_FACTOR = 8
"""The kernel's limit on what p2pd allocates, in its resident cap: it allocates a message's announced size, up to 4 MiB
a stream, before anything of it has arrived. ``memory_alarm`` sees to the resident part."""

_TERMINATE_TIMEOUT_S = 5.0
_LAST_LINES = 5


def p2pd_path() -> Path:
    """Return the daemon's binary, without importing hivemind (which takes seconds).

    Raises:
        P2pdFailed: hivemind, or its binary for this platform, is not installed.
    """
    spec = importlib.util.find_spec("hivemind")
    if spec is None or not spec.submodule_search_locations:
        raise P2pdFailed("The mesh needs hivemind, which is not installed. Run: pip install 'gpunode[mesh]'")
    path = Path(spec.submodule_search_locations[0]) / "hivemind_cli" / "p2pd"
    if not path.is_file():
        raise P2pdFailed(f"hivemind is installed without its daemon {path}, as on platforms other than Linux x86-64.")
    return path


def require_free_ports(config: MeshConfig) -> None:
    """Refuse listen ports that another program has: p2pd would share them (SO_REUSEPORT) and get half the traffic.

    Raises:
        PortInUse: with the port and what to do.
    """
    for address in _listened(config, config.listen_addresses):
        for transport, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
            ip, port = ip_of(address), port_of(address, transport)
            if ip and port and _is_taken(ip, port, kind):
                raise PortInUse(
                    f"Port {port} is in use by another program. Stop it, or choose another with --port (node) or "
                    "--mesh-port (tracker)."
                )


def _is_taken(ip: str, port: int, kind: socket.SocketKind) -> bool:
    """Whether binding fails because of another program; whatever else is wrong, p2pd reports itself."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, kind) as probe:
            if kind is socket.SOCK_STREAM:  # connections of an earlier run may linger; with UDP it would share the port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((ip, port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _listened(config: MeshConfig, addresses: Sequence[str]) -> list[str]:
    return [address for address in addresses if config.quic or not is_quic(address)]


def p2pd_flags(config: MeshConfig, *, control_socket: Path, listen: Sequence[str]) -> list[str]:
    """Return p2pd's command line flags.

    There is no ``-b``: with it, p2pd exits when no bootstrap peer answers. The mesh dials them itself.
    """
    listen = _listened(config, listen)
    flags = [
        f"-listen=/unix{control_socket}",
        f"-id={config.identity_path.resolve()}",
        "-dhtClient=1" if config.client_mode else "-dhtServer=1",
        "-connManager=1",
        "-autonat=1",  # carries hole punching
        "-relay=1",  # without it no stream may run over a relay
        f"-relayService={int(config.relay_service)}",
        f"-natPortMap={int(config.nat_port_map)}",
        f"-persistentConnMaxMsgSize={MAX_MESSAGE_BYTES}",
        "-idleTimeout=30s",  # ends a daemon whose parent died before attaching
        f"-hostAddrs={','.join(listen)}" if listen else "-noListenAddrs=1",
    ]
    if config.announce_addresses:
        flags.append(f"-announceAddrs={','.join(config.announce_addresses)}")
    if config.force_reachability:
        flags.append(f"-forceReachability{config.force_reachability.capitalize()}=1")
    relays = config.trusted_relays or config.bootstrap
    if config.use_auto_relay:
        flags += ["-autoRelay=1", f"-relayDiscovery={int(config.relay_discovery or not relays)}"]
        if relays:
            flags.append(f"-trustedRelays={','.join(relays)}")
    return flags


class P2pd:
    """One running daemon process."""

    def __init__(self, process: asyncio.subprocess.Process, control_socket: Path) -> None:
        self._process = process
        self.control_socket = control_socket
        self._last_lines: list[str] = []
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read_output())

    @classmethod
    async def start(
        cls, config: MeshConfig, *, control_socket: Path, listen: Sequence[str], timeout_s: float
    ) -> "P2pd":
        """Start the daemon and wait until it accepts connections; it dies with this process, even by ``kill -9``.

        Raises:
            P2pdFailed: it ended or was not ready within ``timeout_s`` seconds; the message has its last words.
        """
        control_socket.unlink(missing_ok=True)
        limit = config.p2pd_memory_max_bytes
        data_limit = DATA_LIMIT_FACTOR * limit
        environment = {
            **os.environ,
            "GOMEMLIMIT": str(int(limit * _SOFT_MEMORY_SHARE)),
            "GOLOG_LOG_LEVEL": os.environ.get("GOLOG_LOG_LEVEL", "error"),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_p2pd_launcher.__file__), str(os.getpid()), str(data_limit)),
            *(str(p2pd_path()), *p2pd_flags(config, control_socket=control_socket, listen=listen)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C at the terminal is for us: we drain first
        )
        daemon = cls(process, control_socket)
        try:
            async with asyncio.timeout(timeout_s):
                await daemon._ready
        except TimeoutError as error:
            await daemon.stop()
            raise P2pdFailed(f"p2pd was not ready within {timeout_s:.0f} s.") from error
        except BaseException:
            await daemon.stop()
            raise
        return daemon

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait until the daemon has ended; return its exit code, negative for a signal."""
        return await self._process.wait()

    def kill(self) -> None:
        """End the daemon at once; ``wait`` tells when it has ended."""
        self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End the daemon: politely for 5 s, then by force."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_TERMINATE_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()
        await self._reader

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal; not by ``Process.send_signal``, which takes the exit code from under asyncio's watcher."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def _read_output(self) -> None:
        """Follow the daemon's output to its end; a full pipe would stop it."""
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 -- stdout is a pipe
        while line := await _read_line(stream):
            _log.debug("p2pd: %s", line, extra={"event": "p2pd_output"})
            self._last_lines = [*self._last_lines[1 - _LAST_LINES :], line]
            if line.startswith(_READY_LINE) and not self._ready.done():
                self._ready.set_result(None)
        if not self._ready.done():
            words = " | ".join(self._last_lines) or "no output"
            self._ready.set_exception(P2pdFailed(f"p2pd did not start. Its last words: {words}"))
            self._ready.exception()  # start() may have given up already


async def _read_line(stream: asyncio.StreamReader) -> str:
    """Return the next line (``" "`` for an empty or overlong one), ``""`` at the end."""
    try:
        raw = await stream.readline()
    except ValueError:  # longer than the reader's limit; readline has dropped it
        return " "
    return raw.decode(errors="replace").rstrip() or " " if raw else ""
