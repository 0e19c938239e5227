"""The mesh's judge of adverts, which follows what this node believes of its network."""

from gpunode_protocol.mesh.advert_records import AdvertValidator

from gpunode_node.job_services import NetworkView
from gpunode_node.network_state import NetworkState


def advert_judge(network: NetworkState) -> AdvertValidator:
    """Return a validator that learns of newer keys and revocations; one for each network state."""
    view = network.view
    validator = AdvertValidator(view.trust, view.revocations)

    def learn(newer: NetworkView) -> None:
        validator.trust, validator.revocations = newer.trust, newer.revocations

    network.on_view = learn
    return validator
