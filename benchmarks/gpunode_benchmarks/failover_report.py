"""The object that ``gpunode bench failover --json`` prints. Pure."""

from collections.abc import Mapping
from typing import Any

from gpunode_benchmarks.report import BenchResult


def to_failover_json(result: BenchResult, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures by what an operator asks.

    runs: answers that were cut; ``interrupted``: how many of them nobody finished. gap_ms: the caller's longest wait
    between a killed node's last chunk and the next one; ``count``: of how many answers. It is less than ``runs`` where
    nobody went on, or nothing but the end was left to say. prefix_unchanged: in every run. identical_share: of runs.
    ledger_matches: each node was paid what it gave, of a cut part all but one voucher window. too_late: answers that
    were over before the kill, asked for again. ttft_ms: first token of uncut answers, for comparison. load: load
    average of the last minute before the start.
    """
    values = {measure.name: measure.values for measure in result.measures}
    gaps = next(measure.count for measure in result.measures if measure.name == "gap")
    one = {name: value["median"] for name, value in values.items()}
    return {
        "runs": int(one["runs"]),
        "gap_ms": {"count": gaps, **{name: values["gap"][name] for name in ("median", "max")}},
        "tokens_lost": int(one["tokens_lost"]),
        "tokens_repeated": int(one["tokens_repeated"]),
        "prefix_unchanged": one["prefix_unchanged"] == 1,
        "identical_share": one["identical"],
        "debited_tokens": int(one["debited_tokens"]),
        "delivered_tokens": int(one["delivered_tokens"]),
        "ledger_matches": one["ledger_matches"] == 1,
        "interrupted": int(one["interrupted"]),
        "too_late": int(one["too_late"]),
        "ttft_ms": {name: values["ttft"][name] for name in ("median", "max")},
        "load": result.load_before,
        "load_after": result.load_after,
        "settings": dict(result.settings),
        "machine": dict(machine),
    }
