import signal
import subprocess
import sys

import pytest

_PRELUDE = """
import asyncio, time, msgpack
from hivemind.dht.protocol import DHTProtocol
from hivemind.dht.routing import DHTID, RoutingTable
from hivemind.dht.storage import DHTLocalStorage
from hivemind.p2p import P2PContext, PeerID
from hivemind.proto import dht_pb2
from hivemind.utils.serializer import MSGPackSerializer

def tuples(levels):
    data = msgpack.packb([])
    for _ in range(levels):
        data = msgpack.packb([msgpack.ExtType(0x40, data)])
    return msgpack.packb(msgpack.ExtType(0x40, data))

def dictionaries(levels):
    data = msgpack.packb([None, 0.0, []])
    for _ in range(levels):
        data = msgpack.packb([None, 0.0, [[msgpack.ExtType(0x50, data), b"", 1.0]]])
    return msgpack.packb(msgpack.ExtType(0x50, data))

async def store(protocol, subkey, value):
    request = dht_pb2.StoreRequest(
        keys=[DHTID.generate("key").to_bytes()], subkeys=[subkey], values=[value],
        expiration_time=[time.time() + 60], in_cache=[False],
    )
    peer = PeerID(bytes.fromhex("002408011220") + bytes(32))
    try:
        return (await protocol.rpc_store(request, P2PContext("store", peer, peer))).store_ok
    except Exception as error:
        return type(error).__name__

def stock_protocol():
    protocol = DHTProtocol(_initialized_with_create=True)
    protocol.node_id, protocol.client_mode, protocol.record_validator = DHTID.generate(b"us"), False, None
    protocol.node_info = dht_pb2.NodeInfo()
    protocol.storage, protocol.cache = DHTLocalStorage(), DHTLocalStorage()
    protocol.routing_table = RoutingTable(protocol.node_id, 20, 5)
    return protocol

async def attack(protocol, levels):
    for subkey, value in (
        (MSGPackSerializer.dumps("subkey"), tuples(levels)),
        (tuples(levels), b"value"),
        (b"", tuples(levels)),
        (b"", dictionaries(levels)),
    ):
        print(await store(protocol, subkey, value), flush=True)
        try:
            print(type(MSGPackSerializer.loads(value)).__name__, flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)
"""

_GUARD = "import gpunode_protocol.mesh._hivemind_api\n"
_STOCK = "asyncio.run(attack(stock_protocol(), {levels}))\n"


def run(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def lean(code: str) -> str:
    """Import hivemind without torch, but unguarded."""
    return "from gpunode_protocol.mesh._hivemind_lean import prepare; prepare()\n" + _PRELUDE + code


@pytest.mark.parametrize("levels", [400, 3_000])
def test_nested_extensions_do_not_kill_a_guarded_process(levels: int) -> None:
    """As value, as subkey and as dictionary: refused with an error, and the process lives."""
    result = run(_GUARD + _PRELUDE + _STOCK.format(levels=levels) + "print('alive')")
    assert result.returncode == 0, result.stderr[-2000:]
    lines = result.stdout.split()
    assert lines[-1] == "alive"
    assert lines.count("ValueError") >= 5


@pytest.mark.parametrize("levels", [400, 3_000])
def test_the_attack_is_real(levels: int) -> None:
    """Without the guard the same bytes overflow the C stack; if this fails, the guard may go."""
    result = run(lean(_STOCK.format(levels=levels)))
    assert result.returncode == -signal.SIGSEGV


def test_a_few_levels_end_nothing() -> None:
    """It is the nesting that ends the unguarded process."""
    assert run(lean(_STOCK.format(levels=2))).returncode == 0


def test_hiveminds_own_messages_pass() -> None:
    """Tuples and dictionaries as hivemind sends them are decoded."""
    code = (
        "from hivemind.dht.storage import DictionaryDHTValue\n"
        "value = DictionaryDHTValue()\n"
        "value.store(('a', ('b', ('c',))), b'x', time.time() + 60)\n"
        "print(list(MSGPackSerializer.loads(MSGPackSerializer.dumps(value)).data))"
    )
    assert run(_GUARD + _PRELUDE + code).stdout.strip() == "[('a', ('b', ('c',)))]"
