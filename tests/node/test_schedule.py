"""Times of the day."""

from datetime import datetime

import pytest
from gpunode_node.config import NodeSettings
from gpunode_node.errors import InvalidSettings
from gpunode_node.schedule import Schedule


def _at(hour: int, minute: int = 0) -> datetime:
    return datetime(2027, 3, 4, hour, minute).astimezone()


def test_a_range_over_midnight() -> None:
    """Open from its start, closed from its end on."""
    schedule = Schedule.parse("22:00-08:00")
    assert [hour for hour in range(24) if schedule.is_open(_at(hour))] == [*range(8), 22, 23]
    assert not schedule.is_open(_at(21, 59))


def test_several_ranges() -> None:
    """Any of them opens; blanks do not matter."""
    schedule = Schedule.parse(" 12:00-13:30, 22:00-08:00 ,")
    assert schedule.text == "12:00-13:30, 22:00-08:00"
    assert schedule.is_open(_at(13, 29))
    assert not schedule.is_open(_at(13, 30))
    assert schedule.is_open(_at(7))


def test_without_a_schedule_it_is_always_open() -> None:
    """And a range that ends where it begins is the whole day."""
    assert all(Schedule.parse(text).is_open(_at(hour)) for text in ("", "09:00-09:00") for hour in range(24))


def test_the_owner_is_told_why() -> None:
    """Nothing while it is open."""
    schedule = Schedule.parse("22:00-08:00")
    assert schedule.reason(_at(23)) == ""
    assert schedule.reason(_at(9, 5)) == "it is 09:05, the schedule is 22:00-08:00"


@pytest.mark.parametrize("text", ["22-08", "24:00-08:00", "22:60-23:00", "at night", "22:00-08:00-09:00"])
def test_other_texts_are_refused_with_an_example(text: str) -> None:
    """Hours go to 23, minutes to 59."""
    with pytest.raises(InvalidSettings, match="22:00-08:00"):
        Schedule.parse(text)


def test_the_setting_is_checked_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    assert NodeSettings.load({"schedule": "22:00-08:00"}).schedule == "22:00-08:00"
    monkeypatch.setenv("GPUNODE_SCHEDULE", "at night")
    with pytest.raises(InvalidSettings, match="no time of the day"):
        NodeSettings.load({})
