from pathlib import Path

from gpunode_protocol.mesh import LOOPBACK_ADDRESSES, PUBLIC_ADDRESSES, MeshConfig
from gpunode_protocol.mesh.multiaddrs import ip_of


def test_default_is_this_machine_only() -> None:
    """Nobody is exposed to the internet by forgetting a setting."""
    config = MeshConfig(identity_path=Path("identity.key"))
    assert {ip_of(address) for address in config.listen_addresses} == {"127.0.0.1"}
    assert not config.nat_port_map
    assert not config.relay_service


def test_named_addresses_listen_by_tcp_and_quic() -> None:
    """Both sets offer the same transports."""
    for addresses in (LOOPBACK_ADDRESSES, PUBLIC_ADDRESSES):
        assert [address.split("/")[3] for address in addresses] == ["tcp", "udp"]
