"""The one place that imports hivemind: without torch, with the msgpack guard in force, and quiet.

Everything else takes hivemind's names from here, so no DHT object can exist before the guard.
"""

import logging

from gpunode_protocol.mesh._dht_guards import limit_msgpack_depth
from gpunode_protocol.mesh._hivemind_lean import prepare

prepare()

# ruff: noqa: E402 -- prepare() must run before the first import of hivemind
from hivemind.dht.node import DHTNode
from hivemind.dht.protocol import DHTProtocol
from hivemind.dht.routing import DHTID, RoutingTable
from hivemind.dht.storage import DHTLocalStorage
from hivemind.p2p import P2P, P2PContext, P2PDaemonError, P2PHandlerError, PeerID
from hivemind.p2p.p2p_daemon_bindings.datastructures import StreamInfo
from hivemind.p2p.p2p_daemon_bindings.p2pclient import Client
from hivemind.p2p.p2p_daemon_bindings.utils import read_pbmsg_safe
from hivemind.proto import dht_pb2, p2pd_pb2
from hivemind.utils.logging import use_hivemind_log_handler
from hivemind.utils.multiaddr import Multiaddr
from hivemind.utils.serializer import MSGPackSerializer

limit_msgpack_depth(MSGPackSerializer)
use_hivemind_log_handler("nowhere")  # its own handler prints to stderr in colours
logging.addLevelName(logging.WARNING, "WARNING")  # hivemind renames the level for the whole process
logging.getLogger("hivemind").setLevel(logging.ERROR)  # it warns of every unreachable peer

__all__ = [
    "DHTID",
    "P2P",
    "Client",
    "DHTLocalStorage",
    "DHTNode",
    "DHTProtocol",
    "MSGPackSerializer",
    "Multiaddr",
    "P2PContext",
    "P2PDaemonError",
    "P2PHandlerError",
    "PeerID",
    "RoutingTable",
    "StreamInfo",
    "dht_pb2",
    "p2pd_pb2",
    "read_pbmsg_safe",
    "use_hivemind_log_handler",
]
