"""``gpunode bench failover``: what a caller notices when the node that answers is killed in the middle of an answer.

A tracker, nodes with the real model and a client, each a process as in real life, on loopback. Killed nodes start again
when too few are left, and between answers, because all share this machine's cores and loading a model takes them whole.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Final

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.failover_cuts import Cut, gaps_ms, tokens_lost, tokens_repeated
from gpunode_benchmarks.failover_ledger import Paid, debited_tokens, ledger_matches, paid_units
from gpunode_benchmarks.failover_network import MODEL, NODES, FailoverNetwork, failover_network
from gpunode_benchmarks.failover_scene import MAX_TOKENS, PROMPTS, ask_and_cut, ask_uncut
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.stats import median

RUNS: Final = 3
"""As many as four nodes can give without one that starts again: that takes a third of a minute."""
FEWEST_ALIVE: Final = 2
"""When an answer begins: one to be killed, and one to finish."""
SETTLED_WITHIN_S: Final = 20.0
"""For a client to hand in its last vouchers; it needs a second."""
_POLL_INTERVAL_S: Final = 0.1
_SEED: Final = 5
_TRIES_PER_RUN: Final = 3


@dataclass(frozen=True, slots=True)
class FailoverRun:
    """What was seen.

    ttfts_ms: how long the first tokens of uncut answers took. too_late: answers that were over before their node was
    killed, which were asked for again.
    """

    cuts: tuple[Cut, ...]
    ttfts_ms: tuple[float, ...]
    too_late: int
    paid: Paid


def run_failover_bench(runs: int = RUNS) -> BenchResult:
    """Start the network, cut answers, compare them with uncut ones and with the ledger, end the network.

    Args:
        runs: answers that are cut, >= 1.

    Raises:
        BenchmarkFailed: a process ended that nobody killed, or the network did not come up.
        ClientError: a question got no answer at all.
    """
    load_before, began_at = load_average(), time.monotonic()
    with failover_network() as network:
        run = cut_answers(network, runs, Random(_SEED))  # noqa: S311 -- when to kill is no secret
    return BenchResult(
        bench="failover",
        about="the node that answers is killed in the middle of the answer",
        settings={
            "model": MODEL,
            "nodes": NODES,
            "prompts": len(PROMPTS),
            "max_tokens": MAX_TOKENS,
            "seed": _SEED,
            "seconds": round(time.monotonic() - began_at),
        },
        measures=tuple(measures_of(run)),
        load_before=load_before,
        load_after=load_average(),
    )


def cut_answers(network: FailoverNetwork, runs: int, random: Random) -> FailoverRun:
    """Cut so many answers one after the other and wait until all is paid.

    Raises:
        BenchmarkFailed: hardly an answer could be cut, or the network broke down.
        ClientError: a question got no answer at all.
    """
    cuts: list[Cut] = []
    too_late = 0
    questions = ask_uncut(network.client)
    for question in cycle(questions):
        if network.alive < FEWEST_ALIVE:
            network.start_killed()
        cut = ask_and_cut(network, question, random)
        if cut.was_cut:
            cuts.append(cut)
        else:
            too_late += 1
        if len(cuts) == runs:
            break
        if too_late > _TRIES_PER_RUN * runs:
            raise BenchmarkFailed("Answers are over before their node is killed: this machine is too busy.")
    paid = _paid_when_settled(network, cuts)
    return FailoverRun(tuple(cuts), tuple(question.ttft_ms for question in questions), too_late, paid)


def _paid_when_settled(network: FailoverNetwork, cuts: Sequence[Cut]) -> Paid:
    """Return what was paid when it is as it should be, or nothing more can be expected; what comes later adds to it."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    network.wait(network.all_handed_in, "The nodes did not hand in their receipts")
    while True:
        paid = paid_units(network.ledger_entries())
        if ledger_matches(cuts, paid) or time.monotonic() > deadline:
            return paid
        time.sleep(_POLL_INTERVAL_S)


def measures_of(run: FailoverRun) -> Iterator[Measure]:
    """Return the figures.

    Raises:
        BenchmarkFailed: no answer went on at another node.
    """
    cuts = run.cuts
    gaps = [max(waited) for cut in cuts if (waited := list(gaps_ms(cut)))]
    if not gaps:
        raise BenchmarkFailed("No answer went on after its node was killed. Run it again with --debug.")
    yield Measure(
        name="gap",
        about="between a killed node's last chunk and the next one",
        unit="ms",
        count=len(gaps),
        values={"median": median(gaps), "max": max(gaps)},
    )
    yield Measure(
        name="ttft",
        about="first token of an uncut answer",
        unit="ms",
        count=len(run.ttfts_ms),
        values={"median": median(run.ttfts_ms), "max": max(run.ttfts_ms)},
    )
    yield _sum("runs", "answers that were cut", "answers", [1] * len(cuts))
    yield _sum("interrupted", "answers that nobody finished", "answers", [not cut.is_whole for cut in cuts])
    yield _sum("too_late", "answers that were over before the kill, asked again", "answers", [run.too_late])
    yield _sum("tokens_lost", "tokens lost", "tokens", [tokens_lost(cut) for cut in cuts])
    yield _sum("tokens_repeated", "tokens repeated", "tokens", [tokens_repeated(cut) for cut in cuts])
    yield _share("prefix_unchanged", "begin with what was shown before", [cut.prefix_unchanged for cut in cuts])
    yield _share("identical", "same tokens as an uncut answer", [cut.is_identical for cut in cuts])
    yield _sum("delivered_tokens", "tokens that callers got", "tokens", [len(cut.shown) for cut in cuts])
    yield _sum("debited_tokens", "tokens that were paid for", "tokens", [debited_tokens(cuts, run.paid)])
    yield _share("ledger_matches", "each node paid for what it gave", [ledger_matches([cut], run.paid) for cut in cuts])


def _sum(name: str, about: str, unit: str, values: Sequence[float]) -> Measure:
    return Measure(name=name, about=about, unit=unit, count=len(values), values={"median": sum(values)})


def _share(name: str, about: str, values: Sequence[bool]) -> Measure:
    return Measure(
        name=name, about=about, unit="share", count=len(values), values={"median": sum(values) / len(values)}
    )
