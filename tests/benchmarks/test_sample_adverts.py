import time

import pytest
from gpunode_benchmarks.sample_adverts import SampleNetwork
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh.advert_records import AdvertValidator, record_of
from gpunode_protocol.mesh.errors import RecordRejected

NODE = Identity.from_seed(b"\x03" * 32)


def _validate(network: SampleNetwork, validating: SampleNetwork) -> int:
    record = record_of(network.key_of(3), network.advert(NODE, 3, 7))
    validator = AdvertValidator(validating.trust)
    return validator.validate(record.key, record.subkey, record.value, record.expires_at, time.time()).sequence


def test_sample_adverts_pass_the_real_validator() -> None:
    """The bench measures records that every node accepts."""
    network = SampleNetwork()
    assert _validate(network, network) == 7


def test_each_sample_network_has_keys_of_its_own() -> None:
    """Nothing made for a bench is valid elsewhere."""
    with pytest.raises(RecordRejected, match="certificate"):
        _validate(SampleNetwork(), SampleNetwork())


def test_topics_are_different_keys() -> None:
    """Every round announces under a key that nobody has looked up before."""
    network = SampleNetwork()
    assert len({str(network.key_of(number)) for number in range(50)}) == 50
