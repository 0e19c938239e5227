"""``gpunode bench mesh``: what streams and records cost between two peers on loopback.

Both peers run on this process's event loop, each with its own p2pd, so three processes share the work. There is no
network between them: the figures are what the software adds to a round trip.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from gpunode_protocol.mesh import Mesh, MeshConfig, MeshStream, create_mesh
from gpunode_protocol.mesh.advert_records import AdvertValidator, record_of
from gpunode_protocol.mesh.records import DhtRecord

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.sample_adverts import SampleNetwork
from gpunode_benchmarks.stats import latency_summary

ROUNDS = 50
"""Rounds that are counted. The DHT lets one peer store 256 records and ask 200 times at once, then 8 and 20 a second;
a round stores 2 and asks 2 times, so 50 stay well below and the limit is not what is measured."""

WARM_UP_ROUNDS = 5
"""Rounds before the first that counts: connections, caches and lazy imports are in place then."""

PAYLOAD_BYTES = 128
"""About one ``tokens`` frame."""

_ECHO_PROTOCOL = "/gpunode-bench/1/echo"
_MEET_TIMEOUT_S = 20.0
_MEET_PAUSE_S = 0.02
_MS_PER_S = 1_000

T = TypeVar("T")


@dataclass(slots=True)
class _Durations:
    """Milliseconds of every round."""

    open_and_echo_ms: list[float] = field(default_factory=list)
    echo_ms: list[float] = field(default_factory=list)
    announce_new_ms: list[float] = field(default_factory=list)
    announce_again_ms: list[float] = field(default_factory=list)
    find_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Pair:
    """near announces and serves; far opens streams and looks up."""

    near: Mesh
    far: Mesh
    addresses: tuple[str, ...]
    network: SampleNetwork


def run_mesh_bench(rounds: int = ROUNDS) -> BenchResult:
    """Start two peers, measure, stop them.

    Args:
        rounds: values per measure, >= 1.

    Raises:
        BenchmarkFailed: a stream was cut, or a record was not stored or found.
        GpunodeError: p2pd cannot be started.
    """
    load_before = load_average()
    durations = asyncio.run(_measure(rounds))
    return BenchResult(
        bench="mesh",
        about="streams and records between two peers on loopback, each with its own p2pd",
        settings={"rounds": rounds, "payload_bytes": PAYLOAD_BYTES, "peers": 2},
        measures=_measures(durations),
        load_before=load_before,
        load_after=load_average(),
    )


def _measures(durations: _Durations) -> tuple[Measure, ...]:
    named = (
        ("stream_open_and_first_echo", "open a stream and get the first echo", durations.open_and_echo_ms),
        ("echo_on_open_stream", "echo on an open stream", durations.echo_ms),
        ("announce_new_key", "announce under a new key (look up, then store)", durations.announce_new_ms),
        ("announce_again", "announce again (the replicas are remembered)", durations.announce_again_ms),
        ("find", "find a record and verify its signatures", durations.find_ms),
    )
    return tuple(
        Measure(name=name, about=about, unit="ms", count=len(values), values=latency_summary(values))
        for name, about, values in named
    )


async def _measure(rounds: int) -> _Durations:
    durations = _Durations()
    with tempfile.TemporaryDirectory(prefix="gpunode-bench-") as folder:
        async with AsyncExitStack() as stack:
            pair = await _meet(stack, Path(folder))
            stream = await pair.far.open_stream(pair.near.peer_id, _ECHO_PROTOCOL, pair.addresses)
            stack.push_async_callback(stream.close)
            for number in range(WARM_UP_ROUNDS):
                await _round(pair, stream, number, _Durations())
            for number in range(WARM_UP_ROUNDS, WARM_UP_ROUNDS + rounds):
                await _round(pair, stream, number, durations)
    return durations


async def _meet(stack: AsyncExitStack, folder: Path) -> _Pair:
    """Start both peers and wait until each has the other in its routing table."""
    network = SampleNetwork()
    near = await _start(stack, folder / "near", network)
    addresses = await near.addresses()
    far = await _start(stack, folder / "far", network, bootstrap=addresses)
    await near.serve(_ECHO_PROTOCOL, _echo_all)
    try:
        async with asyncio.timeout(_MEET_TIMEOUT_S):
            while not (near.status.peers_known and far.status.peers_known):  # noqa: ASYNC110 -- a status is a snapshot
                await asyncio.sleep(_MEET_PAUSE_S)
    except TimeoutError as error:
        raise BenchmarkFailed(f"The two peers did not meet within {_MEET_TIMEOUT_S:g} s; run it again.") from error
    return _Pair(near, far, addresses, network)


async def _start(stack: AsyncExitStack, folder: Path, network: SampleNetwork, bootstrap: tuple[str, ...] = ()) -> Mesh:
    folder.mkdir()
    config = MeshConfig(identity_path=folder / "identity.key", state_dir=folder, bootstrap=bootstrap)
    mesh = create_mesh(config, AdvertValidator(network.trust))
    stack.push_async_callback(mesh.stop)
    await mesh.start()
    return mesh


async def _round(pair: _Pair, stream: MeshStream, number: int, durations: _Durations) -> None:
    """Measure everything once; ``number`` is used for no other round of the run."""
    payload = number.to_bytes(4, "big") * (PAYLOAD_BYTES // 4)
    fresh = await _timed(_open_and_echo(pair, payload), durations.open_and_echo_ms)
    await fresh.close()
    await _timed(_echo_once(stream, payload), durations.echo_ms)
    for sequence, values in ((1, durations.announce_new_ms), (2, durations.announce_again_ms)):
        record = record_of(pair.network.key_of(number), pair.network.advert(pair.near.identity, number, sequence))
        await _timed(_announce(pair, record), values)
    await _timed(_find(pair, number), durations.find_ms)


async def _timed(action: Awaitable[T], durations_ms: list[float]) -> T:
    started_at = time.perf_counter()
    result = await action
    durations_ms.append((time.perf_counter() - started_at) * _MS_PER_S)
    return result


async def _echo_all(stream: MeshStream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def _open_and_echo(pair: _Pair, payload: bytes) -> MeshStream:
    stream = await pair.far.open_stream(pair.near.peer_id, _ECHO_PROTOCOL, pair.addresses)
    await _echo_once(stream, payload)
    return stream


async def _echo_once(stream: MeshStream, payload: bytes) -> None:
    await stream.write(payload)
    echo = bytearray()
    while len(echo) < len(payload):
        piece = await stream.read()
        if not piece:
            raise BenchmarkFailed("A stream on loopback was cut; run it again.")
        echo += piece
    if echo != payload:
        raise BenchmarkFailed("A stream on loopback brought back other bytes than were sent.")


async def _announce(pair: _Pair, record: DhtRecord) -> None:
    stored = await pair.near.announce(record)
    if stored < 2:
        raise BenchmarkFailed(f"A record was stored by {stored} of 2 peers; run it again.")


async def _find(pair: _Pair, number: int) -> None:
    found = await pair.far.find(pair.network.key_of(number))
    if [record.peer_id for record in found.records] != [pair.near.peer_id]:
        raise BenchmarkFailed("A record that had been announced was not found; run it again.")
