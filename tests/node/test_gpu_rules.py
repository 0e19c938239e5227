"""When to give way, and when to wait."""

from dataclasses import replace

from gpunode_engines.gpu_readings import GpuProcess, GpuReading
from gpunode_node.gpu_rules import BusyRule, PowerRule, use_by_others

OWN = frozenset({4242})
CARD = GpuReading(name="GTX", busy_percent=97, power_watts=300.0, temperature_c=70, processes=())


def _card(*processes: tuple[int, int | None]) -> GpuReading:
    listed = tuple(GpuProcess(pid=pid, memory_bytes=1, busy_percent=busy) for pid, busy in processes)
    return replace(CARD, processes=listed)


def test_only_the_time_of_others_counts() -> None:
    """Of the busiest card, all others together."""
    assert use_by_others([_card((4242, 95))], OWN, at_work=True) == 0
    assert use_by_others([_card((4242, 30)), _card((7, 40), (8, 20), (4242, 9))], OWN, at_work=True) == 60
    assert use_by_others([], OWN, at_work=False) == 0


def test_where_the_driver_hides_it_a_busy_card_is_anothers_while_we_rest() -> None:
    """While we work nothing can be told."""
    hidden = _card((4242, None), (7, None))
    for reading in (hidden, CARD):
        assert use_by_others([reading], OWN, at_work=False) == 97
        assert use_by_others([reading], OWN, at_work=True) == 0


def test_giving_way_takes_a_while_and_coming_back_longer() -> None:
    """A short peak or a short rest changes nothing."""
    rule = BusyRule(25)
    assert [rule.observe(percent, now) for now, percent in enumerate((90, 90, 10, 90))] == [False] * 4
    assert not rule.observe(90, 12)
    assert rule.observe(90, 13)
    assert rule.observe(0, 20)
    assert rule.observe(0, 139)
    assert rule.observe(60, 139.5)
    assert rule.observe(0, 145)
    assert rule.observe(0, 264)
    assert not rule.observe(0, 265)


def test_power_is_an_average() -> None:
    """Of the last ten seconds, of the hungriest card; cards without a sensor say nothing."""
    rule = PowerRule(250)
    blind = replace(CARD, power_watts=None)
    assert not rule.observe([replace(CARD, power_watts=100.0), blind], 0)
    assert not rule.observe([CARD], 2)
    assert rule.observe([replace(CARD, power_watts=400.0)], 4)
    assert not rule.observe([replace(CARD, power_watts=50.0)], 15)
