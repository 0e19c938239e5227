"""The tracker's process: builds the parts, serves until a signal, stops them in reverse order."""

import asyncio
import gc
import logging
import os
import resource
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

from aiohttp import web, web_protocol

from gpunode_tracker.app import create_app
from gpunode_tracker.app_keys import NO_ROUTE
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.connection_book import ConnectionBook
from gpunode_tracker.data_folder import FolderWatch, locked
from gpunode_tracker.dispatch.dispatcher import Dispatcher
from gpunode_tracker.http_protocol import HttpProtocol
from gpunode_tracker.limits import Limits
from gpunode_tracker.listener import Listener
from gpunode_tracker.mesh_peer import MeshPeer, create_mesh_peer
from gpunode_tracker.repeating import every
from gpunode_tracker.run_file import RunInfo, remove_run_file, write_run_file
from gpunode_tracker.tls_certificate import CERTIFICATE_INTERVAL_S, TlsCertificate
from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT_S = 10.0
"""Requests that run at the end get this long."""
IDLE_TIMEOUT_S = 30.0
"""Connections without a whole request end after this: clients open new ones at any time."""
LINGER_S = 0.5
"""What a refused body still sends is read and dropped for this long, so that the refusal arrives before the end."""
MAX_PIPELINED = 2
"""Requests that are read before the one in front of them is answered; aiohttp takes 32, and has no argument for it."""
OTHER_OPEN_FILES = 512
"""For the database, the mesh and the rest; connections get what the system allows beyond."""
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared with, not listened on


def run(settings: TrackerSettings) -> None:
    """Run the tracker until SIGTERM or SIGINT.

    Raises:
        GpunodeError: it cannot start; the message says why.
    """
    import uvloop  # noqa: PLC0415 -- not on Windows, where only the client runs

    raise_open_files_limit()
    silence_http_server()
    with locked(settings.data_dir):
        uvloop.run(serve(settings))


def silence_http_server() -> None:
    """Let aiohttp log neither what it cannot parse, with all headers, nor paths: keys may be in both.

    Real failures are logged by ``front``.
    """
    for name in ("aiohttp.server", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def raise_open_files_limit() -> None:
    """Allow as many connections as the system does: every one is an open file, and 1,024 are few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def possible_limits(settings: TrackerSettings) -> Limits:
    """Return the limits with no more connections than the system lets the process open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = max(1, soft - OTHER_OPEN_FILES)
    if soft == resource.RLIM_INFINITY or settings.limits.connections <= possible:
        return settings.limits
    logger.warning(
        "The system allows %d open files, so at most %d connections are taken. To take more, raise its limit (ulimit "
        "-n, or LimitNOFILE= of systemd).",
        soft,
        possible,
        extra={"event": "few_open_files"},
    )
    return settings.limits.model_copy(update={"connections": possible})


async def serve(settings: TrackerSettings) -> None:
    """Run the tracker, whose folder is locked, in the running event loop until a signal comes.

    Raises:
        GpunodeError: it cannot start, or its data folder is lost.
    """
    stop = asyncio.Event()
    folder = FolderWatch(settings.data_dir)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    certificate, key = settings.tls_cert, settings.tls_key
    tls = TlsCertificate(certificate, key) if certificate is not None else None
    tracker = await _open(settings)
    async with serve_http(tracker, tls.context if tls is not None else None) as url:
        watching = [asyncio.create_task(folder.run(stop))]
        if tls is not None:
            watching.append(asyncio.create_task(every(CERTIFICATE_INTERVAL_S, tls.look, "certificate_unusable")))
        try:
            await _with_mesh(tracker, url, stop)
        finally:
            for task in watching:
                task.cancel()
            if not folder.is_lost():  # else it is another tracker's, or nobody's
                remove_run_file(settings.data_dir)
    folder.raise_if_lost()
    logger.info("The tracker has stopped", extra={"event": "tracker_stopped"})


async def _open(settings: TrackerSettings) -> Tracker:
    tracker = await Tracker.open(settings)
    try:
        await tracker.common_clock.follow(tracker)
    except BaseException:
        await tracker.close()
        raise
    return tracker


async def _with_mesh(tracker: Tracker, url: str, stop: asyncio.Event) -> None:
    settings = tracker.settings
    mesh: MeshPeer | None = None
    dispatcher: Dispatcher | None = None
    if settings.mesh:
        mesh = create_mesh_peer(settings, tracker.keys.trust, tracker.revocations.body)
        tracker.mesh = mesh
        if settings.dispatch:
            dispatcher = Dispatcher(tracker, replica=mesh.peer_id)
    try:
        if mesh is not None:
            await mesh.start(stop)
            mesh.on_addresses = lambda: _publish(tracker, url)
        if not stop.is_set():
            _publish(tracker, url)
            if dispatcher is not None:
                dispatcher.start()
            logger.info(
                "The tracker of network %s is ready at %s",
                tracker.keys.network,
                url,
                extra={"event": "tracker_ready", "url": url, "bootstrap": tracker.bootstrap},
            )
        gc.collect()
        gc.freeze()  # what is there now stays, and is not walked over again and again: requests would wait meanwhile
        await stop.wait()
        logger.info("Stopping", extra={"event": "tracker_stopping"})
    finally:
        if dispatcher is not None:
            await dispatcher.stop()
        if mesh is not None:
            await mesh.stop()


def _publish(tracker: Tracker, url: str) -> None:
    peer_id = tracker.mesh.peer_id if tracker.mesh is not None else ""
    info = RunInfo(os.getpid(), url, peer_id, tracker.bootstrap, tracker.keys.network)
    write_run_file(tracker.settings.data_dir, info)


@asynccontextmanager
async def serve_http(tracker: Tracker, tls: ssl.SSLContext | None) -> AsyncIterator[str]:
    """Serve HTTP and yield the URL; at the end the tracker is closed."""
    host, port = tracker.settings.http_address
    web_protocol.MAX_MSG_QUEUE_SIZE = MAX_PIPELINED
    runner = web.AppRunner(create_app(tracker), shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    limits = possible_limits(tracker.settings)
    listener = Listener(
        partial(
            HttpProtocol,
            cast(web.Server, runner.server),
            lambda: tracker.metrics.count_request(NO_ROUTE, 400),
            loop=asyncio.get_running_loop(),
            access_log=None,
            keepalive_timeout=IDLE_TIMEOUT_S,
            lingering_time=LINGER_S,
        ),
        ConnectionBook(limits, tracker.settings.proxy_networks),
        age_s=limits.connection_age_s,
        tls=tls,
        on_refused=tracker.metrics.rejected.labels("connections").inc,
    )
    try:
        bound = await listener.start(host, port)
        shown = _ANY_ADDRESS.get(host, host)
        name = f"[{shown}]" if ":" in shown else shown
        yield tracker.settings.public_url or f"{'https' if tls else 'http'}://{name}:{bound}"
    finally:
        await listener.stop()
        await runner.cleanup()
