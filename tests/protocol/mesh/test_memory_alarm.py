"""What p2pd's memory says."""

from gpunode_protocol.mesh.memory_alarm import (
    CALM_S,
    DATA_STEP_BYTES,
    MEBIBYTE,
    RESIDENT_STEP_BYTES,
    SIEGE_DATA_BYTES,
    SIEGE_S,
    Measure,
    MemoryAlarm,
    MemorySample,
)

CAP = 512 * MEBIBYTE
RESIDENT, DATA = 66 * MEBIBYTE, 84 * MEBIBYTE


def sample(at_s: float, *, resident: int = RESIDENT, data: int = DATA) -> MemorySample:
    """Return a sample; by default of an idle p2pd."""
    return MemorySample(resident, data, at_s)


def alarmed() -> MemoryAlarm:
    """Return an alarm that has gone off at second 1."""
    alarm = MemoryAlarm(CAP)
    assert alarm.judge(sample(0)) is Measure.NOTHING
    assert alarm.judge(sample(1, data=DATA + DATA_STEP_BYTES + 1)) is Measure.CLOSE_QUIET
    return alarm


def test_fast_growth() -> None:
    """Resident or only allocated: both are an attack's, and the quiet connections are closed first."""
    for grown in (
        sample(1, resident=RESIDENT + RESIDENT_STEP_BYTES + 1),
        sample(1, data=DATA + DATA_STEP_BYTES + 1),
    ):
        alarm = MemoryAlarm(CAP)
        assert alarm.judge(sample(0)) is Measure.NOTHING
        assert alarm.judge(grown) is Measure.CLOSE_QUIET


def test_slow_growth_is_let_be() -> None:
    """A tracker gets connection after connection."""
    alarm = MemoryAlarm(CAP)
    for step in range(8):
        grown = step * RESIDENT_STEP_BYTES // 2
        assert alarm.judge(sample(step * (CALM_S + 1), resident=RESIDENT + grown)) is Measure.NOTHING


def test_growth_counts_from_the_lowest() -> None:
    """What Go gave back is not credited to the next attack."""
    alarm = MemoryAlarm(CAP)
    alarm.judge(sample(0, resident=RESIDENT + RESIDENT_STEP_BYTES))
    alarm.judge(sample(1))
    assert alarm.judge(sample(2, resident=RESIDENT + RESIDENT_STEP_BYTES + 1)) is Measure.CLOSE_QUIET


def test_quiet_connections_are_closed_for_a_while() -> None:
    """A flooder dials again at once; afterwards, the level reached is normal."""
    alarm, after = alarmed(), DATA + DATA_STEP_BYTES + 1
    assert alarm.judge(sample(1 + SIEGE_S - 0.1, data=after)) is Measure.CLOSE_QUIET
    assert alarm.judge(sample(1 + SIEGE_S, data=after)) is Measure.NOTHING
    assert alarm.judge(sample(2 + SIEGE_S, data=after + DATA_STEP_BYTES)) is Measure.NOTHING


def test_growth_under_siege() -> None:
    """Then the flooder has a stream open too: all connections are closed."""
    alarm = alarmed()
    grown = sample(1.1, data=DATA + DATA_STEP_BYTES + SIEGE_DATA_BYTES + 2)
    assert alarm.judge(grown) is Measure.CLOSE_ALL
    assert alarm.judge(sample(1.2, data=grown.data_bytes)) is Measure.CLOSE_QUIET


def test_nearly_full() -> None:
    """However slowly it came: first the quiet ones, then all, and beyond the cap p2pd's end."""
    alarm = MemoryAlarm(CAP)
    full = int(0.76 * CAP)
    assert alarm.judge(sample(0, resident=full)) is Measure.CLOSE_QUIET
    assert alarm.judge(sample(0.1, resident=full)) is Measure.CLOSE_ALL
    assert alarm.judge(sample(0.2, resident=CAP + 1)) is Measure.END
