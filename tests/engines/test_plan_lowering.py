"""What follows from running out of memory."""

from dataclasses import replace

import pytest
from gpunode_engines.errors import BackendFailed, EngineCrashed, OutOfMemory
from gpunode_engines.plan_lowering import LoweringPlan

from tests.engines.scripted_engine import SCRIPTED_PLAN


def _plan(slots: int, context_tokens: int = 4096) -> LoweringPlan:
    options = replace(SCRIPTED_PLAN.options, slots=slots, context_tokens=context_tokens)
    return LoweringPlan(replace(SCRIPTED_PLAN, options=options), lambda: 0)


def test_less_each_time_until_nothing_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """Jobs at once first, then the context; the last word says what the owner can do."""
    plan, told = _plan(2, 2048), []
    sizes = []
    for _ in range(3):
        told.append(plan.lower(0))
        sizes.append((plan.plan.options.slots, plan.plan.options.context_tokens))
    assert sizes == [(1, 2048), (1, 1024), (1, 1024)]
    assert told[0].startswith("From now on it takes ")
    assert told[2].startswith("Nothing is left to lower")
    assert caplog.text.count("ran out of memory") == 2


def test_who_is_to_blame() -> None:
    """A kill counts as want of memory where the kernel has ended somebody since the load."""
    kills = [3]
    plan = LoweringPlan(SCRIPTED_PLAN, lambda: kills[0])
    plan.load_begins()
    killed = EngineCrashed("The engine ended by signal SIGKILL.")
    assert not plan.is_to_blame(killed)
    kills[0] = 4
    assert plan.is_to_blame(killed)
    plan.load_begins()
    assert not plan.is_to_blame(killed)
    assert plan.is_to_blame(OutOfMemory())
    assert not plan.is_to_blame(BackendFailed("no such token"))
