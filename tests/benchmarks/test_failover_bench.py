from contextlib import nullcontext
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest
from gpunode.types import RouteSegment
from gpunode_benchmarks import failover_bench
from gpunode_benchmarks.commands import _FAILOVER_RUNS
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.failover_bench import RUNS, FailoverRun, cut_answers, measures_of, run_failover_bench
from gpunode_benchmarks.failover_cuts import Arrival, Cut
from gpunode_benchmarks.failover_network import FailoverNetwork

CUT = Cut(
    job="job",
    expected=(1, 2, 3),
    arrivals=(Arrival(0.0, (1,)), Arrival(0.5, (2,)), Arrival(0.6, (3,))),
    before=1,
    ids=(1, 2, 3),
    vouched=3,
    parts=(RouteSegment("killed", "asia", 1, "its stream ended"), RouteSegment("other", "asia", 2, "done")),
)
SLOW = replace(CUT, job="slow", arrivals=(CUT.arrivals[0], Arrival(0.9, (2, 4))), ids=(1, 2, 4))
PAID = {("job", "killed"): 1, ("job", "other"): 2, ("slow", "other"): 1}


def _values(*cuts: Cut) -> dict[str, float]:
    run = FailoverRun(cuts, (100.0, 300.0), too_late=2, paid=PAID)
    measures = {measure.name: measure.values for measure in measures_of(run)}
    return {name: values["median"] for name, values in measures.items()} | {"longest": measures["gap"]["max"]}


def test_all_figures_of_a_run() -> None:
    """Counts are sums over all answers, and shares are of them."""
    values = _values(CUT, SLOW)
    assert (values["gap"], values["longest"]) == (700.0, 900.0)
    assert (values["runs"], values["too_late"], values["interrupted"]) == (2, 2, 0)
    assert (values["tokens_lost"], values["tokens_repeated"]) == (0, 0)
    assert (values["prefix_unchanged"], values["identical"]) == (1, 0.5)
    assert (values["delivered_tokens"], values["debited_tokens"]) == (6, 4)
    assert values["ledger_matches"] == 0.5
    assert values["ttft"] == 200.0


def test_an_interrupted_answer_is_counted() -> None:
    """It has no gap, and the others' stays."""
    broken = replace(CUT, arrivals=CUT.arrivals[:1], ids=(1,), vouched=1, parts=CUT.parts[:1], is_whole=False)
    values = _values(CUT, broken)
    assert (values["interrupted"], values["gap"]) == (1, 500.0)
    with pytest.raises(BenchmarkFailed, match="No answer went on"):
        _values(broken)


def test_an_answer_of_which_only_the_end_was_missing_has_no_gap() -> None:
    """It is counted as cut, and missing among the gaps."""
    ended = replace(CUT, parts=(replace(CUT.parts[0], output_units=3), replace(CUT.parts[1], output_units=0)))
    run = FailoverRun((CUT, ended), (100.0,), too_late=0, paid=PAID)
    counts = {measure.name: measure.count for measure in measures_of(run)}
    assert (counts["runs"], counts["gap"]) == (2, 1)


def test_the_bench_says_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whole seconds, the start of the network included."""
    run = FailoverRun((CUT,), (100.0,), too_late=0, paid=PAID)
    monkeypatch.setattr(failover_bench, "failover_network", nullcontext)
    monkeypatch.setattr(failover_bench, "cut_answers", lambda *_: run)
    monkeypatch.setattr(failover_bench, "time", SimpleNamespace(monotonic=iter((100.0, 128.4)).__next__))
    assert run_failover_bench().settings["seconds"] == 28


@pytest.mark.full
def test_a_real_answer_goes_on_at_another_node(failover: FailoverNetwork) -> None:
    """No token is lost or repeated, what was shown stays, and each node is paid what it gave."""
    failover.start_killed()
    run = cut_answers(failover, 1, Random(2))
    values = {measure.name: measure.values["median"] for measure in measures_of(run)}
    assert (values["runs"], values["interrupted"]) == (1, 0)
    assert (values["tokens_lost"], values["tokens_repeated"]) == (0, 0)
    assert (values["prefix_unchanged"], values["ledger_matches"]) == (1, 1)
    assert 0 < values["debited_tokens"] <= values["delivered_tokens"]
    (cut,) = run.cuts
    assert len({part.node for part in cut.parts}) == 2
    assert values["gap"] > 0


def test_the_command_and_the_bench_agree() -> None:
    """``gpunode bench`` and ``gpunode bench failover`` do the same."""
    assert _FAILOVER_RUNS == RUNS
