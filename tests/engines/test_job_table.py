import pytest
from gpunode_engines.base import Blob, Event, Finished, Progress, Segment, TokenLogprob, Tokens, Word
from gpunode_engines.errors import EngineCrashed, EngineOverloaded, OutputLimit, TimeLimit
from gpunode_engines.job_table import Job, JobTable

FINISHED = Finished(reason="stop", prompt_tokens=1, output_tokens=1)


def job(key: str = "a", limit: int = 1000) -> Job:
    """Return a job that started at 0."""
    return Job(key, 0.0, limit)


async def test_events_come_in_order() -> None:
    """First in, first out; nothing after Finished."""
    running = job()
    events = [Progress(step=0, total=1), Tokens(ids=(1,), text="a"), FINISHED]
    for event in [*events, Tokens(ids=(2,), text="late")]:
        running.deliver(event)
    assert [await running.next_event() for _ in events] == events


async def test_a_failure_comes_after_what_was_delivered() -> None:
    """The first failure counts; later ones and later events do not."""
    running = job()
    running.deliver(Tokens(ids=(1,), text="a"))
    running.fail(TimeLimit())
    running.fail(EngineCrashed())
    running.deliver(Tokens(ids=(2,), text="late"))
    assert isinstance(await running.next_event(), Tokens)
    with pytest.raises(TimeLimit):
        await running.next_event()


@pytest.mark.parametrize(
    "event",
    [
        Tokens(ids=(1,), text="x" * 100),
        Tokens(ids=(1,) * 13, text=""),
        Segment(start_ms=0, end_ms=1, text="x" * 101),
        Segment(start_ms=0, end_ms=1, text="", words=(Word(start_ms=0, end_ms=1, text="x" * 101),)),
        Segment(start_ms=0, end_ms=1, text="", words=(Word(start_ms=0, end_ms=1, text=""),) * 10),
        Tokens(ids=(1,), text="", logprobs=(TokenLogprob(token_id=1, logprob=None, top=((1, 0.0),) * 10),)),
        Progress(step=1, total=2, preview=bytes(101)),
        Blob(index=0, offset=0, total_bytes=101, data=bytes(101), media_type="image/png"),
    ],
)
async def test_output_is_capped(event: Event) -> None:
    """Ids, texts, words, logprobs, previews and blobs count: all that waits in the node's memory."""
    with pytest.raises(OutputLimit):
        job(limit=100).deliver(event)


async def test_events_that_carry_nothing_are_capped() -> None:
    """A child could send them without end."""
    running = job(limit=100)
    nothing = Tokens(ids=(), text="")
    for _ in range(6):
        running.deliver(nothing)
    with pytest.raises(OutputLimit):
        running.deliver(nothing)


async def test_slots_and_keys_are_limited() -> None:
    """A slot is free again once the child has confirmed the end."""
    table = JobTable(2)
    first = job("a")
    table.add(first)
    with pytest.raises(EngineOverloaded, match="already"):
        table.add(job("a"))
    table.add(job("b"))
    with pytest.raises(EngineOverloaded, match="All 2 slots"):
        table.add(job("c"))
    table.confirm("a")
    table.confirm("unknown")
    assert first.confirmed.is_set()
    assert len(table) == 1
    table.add(job("c"))


async def test_a_lost_child_fails_every_job_with_its_own_error() -> None:
    """One exception object raised in two tasks would mix their tracebacks."""
    table = JobTable(2)
    jobs = [job("a"), job("b")]
    for running in jobs:
        table.add(running)
    table.fail_all(EngineCrashed("why"))
    errors = []
    for running in jobs:
        with pytest.raises(EngineCrashed, match="why") as failure:
            await running.next_event()
        errors.append(failure.value)
    assert errors[0] is not errors[1]
    assert len(table) == 0
