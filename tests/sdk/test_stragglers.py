import math

from gpunode._cost import SILENCE_MS, Cost
from gpunode._selection import Candidate, Choice, Standing
from gpunode._stragglers import SET_UP_TRIPS, worth_waiting_ms
from gpunode.routing import CostTerms, RttFrom
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region

from tests.sdk.world import Keys

KEYS = Keys()


def _pending(
    work_ms: float, region: Region = Region.ASIA, rtt_ms: float = 0.0, rtt_from: RttFrom = "unknown"
) -> Choice:
    advert = KEYS.advert(Identity.from_seed(b"\x01" * 32), region=region)
    terms = CostTerms(rtt_ms=rtt_ms, decode_ms=work_ms, silence_ms=SILENCE_MS)
    cost = Cost(terms, rtt_from, is_speed_observed=False, output_units_per_s=1.0)
    return Choice(Candidate(advert, "index"), None, cost, standing=Standing.NOT_ASKED)


def test_nobody_is_waited_for_in_vain() -> None:
    """Nobody is left, or only one that takes longer even next door."""
    assert worth_waiting_ms(500.0, [], Region.ASIA, 50.0) == 0
    assert worth_waiting_ms(500.0, [_pending(600)], Region.ASIA, 50.0) == 0


def test_as_long_as_nobody_has_answered_all_are_waited_for() -> None:
    """Whatever they are worth."""
    assert worth_waiting_ms(math.inf, [_pending(600, Region.EUROPE)], Region.ASIA, 0.0) == math.inf


def test_who_was_dialled_and_answered_first_is_the_nearest() -> None:
    """An equal that has still not answered after four round trips is not nearer."""
    rtt_ms, work_ms = 20.0, 500.0
    first_ms = SET_UP_TRIPS * rtt_ms
    assert worth_waiting_ms(rtt_ms + work_ms, [_pending(work_ms)], Region.ASIA, first_ms) == first_ms


def test_one_that_has_to_be_dialled_gets_time_beside_one_that_was_connected() -> None:
    """It may be nearer, and answer after four of its round trips; but waiting must not cost more than it gains."""
    rtt_ms, work_ms = 100.0, 500.0
    assert worth_waiting_ms(rtt_ms + work_ms, [_pending(work_ms)], Region.ASIA, rtt_ms) == 160.0


def test_a_faster_one_gets_longer() -> None:
    """As much as it could still gain."""
    waits = [worth_waiting_ms(600.0, [_pending(work_ms)], Region.ASIA, 100.0) for work_ms in (400, 300)]
    assert waits == [240.0, 320.0]


def test_who_is_known_to_be_too_far_is_not_waited_for() -> None:
    """By what was measured before, or by its advert; one that is not far enough only as long as it can gain."""
    for rtt_from in ("before", "advert"):
        assert worth_waiting_ms(520.0, [_pending(500, rtt_ms=30.0, rtt_from=rtt_from)], Region.ASIA, 20.0) == 0
    assert worth_waiting_ms(620.0, [_pending(500, rtt_ms=90.0, rtt_from="before")], Region.ASIA, 20.0) == 50.0


def test_of_another_region_light_takes_its_time() -> None:
    """From Singapore to Virginia and back 155 ms; whoever sits in between saves half. Unknown: next door."""
    far = _pending(500, Region.AMERICA)
    assert worth_waiting_ms(570.0, [far], Region.ASIA, 20.0) == 0
    assert worth_waiting_ms(570.0, [far], Region.AMERICA, 20.0) > 0
    assert worth_waiting_ms(570.0, [far], None, 20.0) > 0


def test_the_one_that_is_worth_most_decides() -> None:
    """The others come as they come."""
    alone = worth_waiting_ms(600.0, [_pending(300)], Region.ASIA, 100.0)
    assert worth_waiting_ms(600.0, [_pending(700), _pending(300), _pending(550)], Region.ASIA, 100.0) == alone
