from gpunode.doctor.checks import checks
from gpunode_protocol.diagnosis import Subject


def test_what_needs_the_mesh_says_so() -> None:
    """The base installation has the others."""
    extras = {check.name: check.extra for check in checks(Subject())}
    assert extras == {"state": "", "clock": "", "tracker": "", "grant": "", "p2pd": "mesh", "mesh": "mesh"}


def test_all_but_p2pd_need_the_settings() -> None:
    """Loaded once, by the same function."""
    loaders = {check.name: check.load_settings for check in checks(Subject())}
    assert loaders.pop("p2pd") is None
    assert len(set(loaders.values())) == 1
    assert None not in loaders.values()
