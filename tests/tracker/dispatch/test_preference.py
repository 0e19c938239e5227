"""Who is asked first for a queued job."""

from dataclasses import replace

import pytest
from gpunode._cost import Cost
from gpunode._observed import NOTHING_OBSERVED
from gpunode._probe_answer import Probe
from gpunode._selection import Candidate, Choice, Standing
from gpunode.routing import CostTerms
from gpunode_protocol.adverts import Gpu
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_tracker.dispatch.preference import free_slots, is_free, preferred, region_order

from tests.sdk.world import Keys

ASIA, EUROPE, AMERICA, AFRICA = Region.ASIA, Region.EUROPE, Region.AMERICA, Region.AFRICA
KEYS = Keys()
IDLE = Probe(rtt_ms=10.0, active=0, queued=0, slots=1)
FULL = Probe(rtt_ms=10.0, active=1, queued=0, slots=1)


def choice(
    number: int,
    *,
    region: Region = EUROPE,
    probe: Probe | None = IDLE,
    standing: Standing = Standing.ANSWERED,
    failures: float = 0.0,
    ms: float = 100.0,
    memory_mb: int = 0,
) -> Choice:
    """Return a node to choose."""
    gpu = Gpu(model="", count=1, memory_mb=memory_mb)
    advert = KEYS.advert(Identity.from_seed(bytes([number]) * 32), region=region, gpu=gpu)
    cost = Cost(CostTerms(rtt_ms=ms), "probe", is_speed_observed=False, output_units_per_s=1.0)
    observed = replace(NOTHING_OBSERVED, failure_share=failures)
    return Choice(Candidate(advert, "dht"), probe, cost, observed, standing)


BEST = choice(1)


@pytest.mark.parametrize(
    "worse",
    [
        choice(2, region=ASIA, ms=1.0),
        choice(2, failures=0.1, ms=1.0),
        choice(2, ms=101.0, memory_mb=80_000),
        choice(2, probe=FULL, ms=1.0),
        choice(2, standing=Standing.FAILED, ms=1.0),
        choice(2, standing=Standing.SILENT, probe=None, ms=1.0),
    ],
    ids=["farther from the client", "less successful", "slower", "full", "failed lately", "silent"],
)
def test_what_stands_first_decides(worse: Choice) -> None:
    """Region, then success rate, then latency; and before all that, whether it can begin at once."""
    assert preferred([worse, BEST], EUROPE) == [BEST, worse]


def test_memory_decides_between_equals() -> None:
    """The larger card first."""
    larger = choice(2, memory_mb=24_000)
    assert preferred([BEST, larger], EUROPE) == [larger, BEST]


def test_a_full_node_at_home_comes_after_a_free_one_elsewhere() -> None:
    """A job that waits is not nearer."""
    full, far = choice(2, probe=FULL), choice(3, region=AMERICA)
    assert preferred([full, far], EUROPE) == [far, full]


def test_a_failure_long_ago_counts_for_nothing() -> None:
    """A share of failures fades and never quite gets back to 0."""
    once, slower = choice(2, failures=0.004, ms=10.0), choice(3, ms=20.0)
    assert preferred([slower, once], EUROPE) == [once, slower]


def test_without_the_clients_region_no_node_is_nearer() -> None:
    """The expected time decides, which is measured from the tracker."""
    near, far = choice(2, region=ASIA, ms=10.0), choice(3, region=EUROPE, ms=20.0)
    assert preferred([far, near], None) == [near, far]


def test_the_regions_to_look_in() -> None:
    """The one asked for only; else by their way to the client; else everywhere."""
    live = {ASIA, EUROPE, AMERICA, AFRICA}
    assert region_order(ASIA, EUROPE, live) == (ASIA,)
    assert region_order(AFRICA, EUROPE, {ASIA}) == (AFRICA,)
    assert region_order(None, EUROPE, live) == (EUROPE, AMERICA, AFRICA, ASIA)
    assert region_order(None, ASIA, {EUROPE, AFRICA}) == (AFRICA, EUROPE)
    assert region_order(None, None, live) == (None,)


def test_who_is_free() -> None:
    """Only who answered, and has room."""
    assert is_free(BEST)
    for busy in (choice(2, probe=FULL), choice(2, probe=None), choice(2, standing=Standing.FAILED)):
        assert not is_free(busy)


def test_how_much_room_there_is() -> None:
    """The free slots of those who answered; a node that states none has one."""
    four = Probe(rtt_ms=10.0, active=1, queued=0, slots=4)
    none_told = Probe(rtt_ms=10.0, active=0, queued=0, slots=0)
    assert free_slots([BEST, choice(2, probe=four), choice(3, probe=none_told), choice(4, probe=FULL)]) == 1 + 3 + 1
    assert free_slots([choice(2, probe=FULL), choice(3, probe=None)]) == 0
