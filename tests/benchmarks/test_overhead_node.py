import itertools

import pytest
from gpunode_benchmarks.overhead_node import run_jobs

from tests.engines.fake_engine import FakeEngine


async def test_jobs_run_at_once_and_each_has_its_first_token() -> None:
    """The fake engine has four slots: more jobs at once would be refused, and one key twice too."""
    engine = FakeEngine()
    await engine.start()
    numbers = itertools.count()
    for _ in range(2):
        answer = await run_jobs(engine, ["a", "b", "c", "d"], 5, numbers)
        assert len(answer["ttft_s"]) == 4
        assert 0 < max(answer["ttft_s"]) <= answer["elapsed_s"]
    await engine.stop()


async def test_an_answer_that_ends_early_is_no_result() -> None:
    """Tokens that were not generated must not be counted."""
    engine = FakeEngine(answer="ab")
    await engine.start()
    with pytest.raises(ExceptionGroup) as caught:
        await run_jobs(engine, ["a"], 5, itertools.count())
    assert caught.group_contains(RuntimeError, match="stop")
    await engine.stop()
