"""From a wish to nodes in the order in which they should be tried."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from gpunode_protocol.identity import PeerId
from gpunode_protocol.regions import Region

from gpunode._advert_pool import Found
from gpunode._breakers import Breakers
from gpunode._candidate_memory import CandidateMemory, Question
from gpunode._cost import TYPICAL_SIZE, JobSize, cost_of
from gpunode._discovery import Discovery
from gpunode._look_up import LookUp
from gpunode._measurements import Measurements
from gpunode._model_names import resolve_name
from gpunode._network import Network
from gpunode._other_tasks import how_to_ask
from gpunode._probe_answer import Probe
from gpunode._probing import Prober, Worth
from gpunode._selection import (
    ENOUGH,
    Candidate,
    Choice,
    Knowledge,
    Standing,
    Wanted,
    rank,
    standing_of,
    to_measure,
    to_probe,
)
from gpunode._stragglers import worth_waiting_ms
from gpunode.errors import NoNodeFound
from gpunode.regions import HomeFrom

Objection = Callable[[Candidate], str | None]
"""Says why a candidate may not do a job, None if it may."""


def no_objection(_candidate: Candidate) -> str | None:
    """Let everybody do it."""
    return None


@dataclass(frozen=True)
class Placement:
    """One job to be placed.

    home: the client's region; home_from: see ``HomeFrom``. size: what it takes. objection: beyond what ``wanted`` says.
    doubtful: nodes whose stated place is.
    """

    wanted: Wanted
    home: Region | None = None
    size: JobSize = TYPICAL_SIZE
    objection: Objection = no_objection
    home_from: HomeFrom | None = None
    doubtful: frozenset[str] = frozenset()

    @property
    def question(self) -> Question:
        """What is searched for."""
        return self.wanted, self.home


@dataclass(frozen=True)
class Ranking:
    """choices: best first. excluded: nodes that do not qualify, counted by reason.

    looked_up_at: monotonic seconds at which the nodes were known that were then probed.
    """

    choices: list[Choice]
    excluded: Counter[str] = field(default_factory=Counter)
    looked_up_at: float = 0.0


class Finder:
    """Discovers, probes and ranks. What was found lately is used again, and looked up anew in the background.

    Args:
        discovery, prober, breakers, measurements: see there.
        network: returns what is known of the network now.
        spawn: runs work that nobody waits for.
        random: breaks ties.
        clock: Unix seconds. monotonic: seconds.
    """

    def __init__(  # noqa: PLR0913 -- the parts that it puts together, and its clocks
        self,
        discovery: Discovery,
        prober: Prober,
        breakers: Breakers,
        measurements: Measurements,
        *,
        network: Callable[[], Network],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        random: Random,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._discovery = discovery
        self._prober = prober
        self._breakers = breakers
        self._measurements = measurements
        self._network = network
        self._spawn = spawn
        self._random = random
        self._clock = clock
        self._monotonic = monotonic
        self._memory = CandidateMemory()
        self._refreshing: set[Question] = set()
        self._wide: set[Question] = set()

    async def choices(self, placement: Placement) -> list[Choice]:
        """Return the nodes to try, best first, at least one.

        Raises:
            NoNodeFound: with the models that there are, and why nodes do not qualify.
        """
        return (await self.ranking(placement)).choices

    async def ranking(self, placement: Placement) -> Ranking:
        """Return ``choices``, and how they came about.

        Raises:
            NoNodeFound: see ``choices``.
        """
        ranking = Ranking(await self._known_choices(placement), looked_up_at=self._monotonic())
        if not ranking.choices:
            ranking = await self.search(placement)
        self._widen_if_crowded(ranking.choices, placement)
        return ranking

    async def look_up(self, placement: Placement) -> None:
        """Search, and remember who was found; nobody is asked."""
        await self._search(placement.question)

    def known(self, placement: Placement) -> set[PeerId]:
        """Return the nodes that are remembered for a question, maybe none."""
        known = self._memory.recall(placement.question, network=self._network(), now=self._clock())
        return {candidate.node for candidate in known}

    async def search(self, placement: Placement, *, thorough: bool = False) -> Ranking:
        """Return the nodes to try, best first, at least one; always searches.

        thorough: hear all sources and all nodes that are asked out, instead of going on as soon as it is worth it.

        Raises:
            NoNodeFound: see ``choices``.
        """
        if thorough:
            found = await self._search(placement.question)
            ranking = await self._rank_found(found, placement, thorough=True)
        else:
            found, ranking = await self._rank_soon(placement)
        if not ranking.choices:
            asked_by = "" if ranking.excluded else await how_to_ask(self._discovery, *placement.question)
            raise _nobody(placement.wanted, found, ranking.excluded, asked_by)
        return ranking

    async def all(self, placement: Placement) -> list[Choice]:
        """Return every node that serves what is wanted, maybe none; always searches."""
        found = await self._discovery.find(placement.wanted, home=placement.home)
        return (await self._rank_found(found, placement, thorough=True)).choices

    async def close(self) -> None:
        """End what goes on behind the callers' backs."""
        await self._discovery.close()
        await self._prober.close()

    async def _known_choices(self, placement: Placement) -> list[Choice]:
        """Return the nodes of an earlier search; none if not one of them answers any more."""
        known = self._memory.recall(placement.question, network=self._network(), now=self._clock())
        held_against = self._measurements.held_against
        known = [item for item in known if placement.objection(item) is None and held_against(item.node) is None]
        choices = self._ranked_at_once(known, placement) or await self._ranked(known, placement)
        if not any(choice.probe is not None for choice in choices):
            return []
        self._refresh_if_old(placement)
        return choices

    async def _rank_found(self, found: Found, placement: Placement, *, thorough: bool = False) -> Ranking:
        looked_up_at, excluded, kept = self._monotonic(), found.excluded.copy(), []
        for candidate in found.candidates:
            refusal = placement.objection(candidate)
            if refusal is None:
                kept.append(candidate)
            else:
                excluded[refusal] += 1
        return Ranking(await self._ranked(kept, placement, thorough=thorough), excluded, looked_up_at)

    async def _rank_soon(self, placement: Placement) -> tuple[Found, Ranking]:
        """Search until it is worth going on; the rest is remembered when it has come, or waited for if nobody answers.

        Whoever is named first may have died, or be too dear.
        """

        def ask_first(found: Found) -> None:
            """Ask whom one source named while the other one is waited for: all of it are round trips."""
            allowed = [item for item in found.candidates if placement.objection(item) is None]
            self._prober.begin(to_probe(allowed, self._knowledge(allowed, placement), self._random))

        question = placement.question
        look_up = self._begin(question)
        found = await self._in_other_words(question, await look_up.soon(ask_first))
        if look_up.is_under_way:
            self._spawn(self._remember_rest(question, look_up))
        ranking = await self._rank_found(found, placement)
        if look_up.is_under_way and not any(choice.probe is not None for choice in ranking.choices):
            found = await self._in_other_words(question, await look_up.whole())
            ranking = await self._rank_found(found, placement)
        return found, ranking

    async def _search(self, question: Question) -> Found:
        return await self._in_other_words(question, await self._begin(question).whole())

    async def _remember_rest(self, question: Question, look_up: LookUp) -> None:
        network = self._network()
        found = await look_up.whole()
        if found.candidates:
            self._memory.remember(question, found.candidates, network=network, now=self._clock())

    def _begin(self, question: Question) -> LookUp:
        return self._discovery.begin(question[0], home=self._home_of(question))

    def _home_of(self, question: Question) -> Region | None:
        return None if question in self._wide else question[1]

    async def _in_other_words(self, question: Question, found: Found) -> Found:
        """Remember what was found; if it is nothing, look for what else the model's name may mean."""
        wanted, network = question[0], self._network()
        if not found.candidates and not found.excluded and wanted.model is not None:
            everything = await self._discovery.find(replace(wanted, model=None), home=self._home_of(question))
            found = _served_under_another_name(wanted.model, everything)
        self._memory.remember(question, found.candidates, network=network, now=self._clock())
        return found

    def _refresh_if_old(self, placement: Placement) -> None:
        question = placement.question
        if question not in self._refreshing and self._memory.is_old(question, self._clock()):
            self._refreshing.add(question)
            self._spawn(self._refresh(placement))

    def _widen_if_crowded(self, choices: Sequence[Choice], placement: Placement) -> None:
        """Look beyond the client's own region, behind the caller's back, where it has enough nodes and none is free."""
        question, wanted = placement.question, placement.wanted
        is_crowded = len(choices) >= ENOUGH and not _is_any_free(choices)
        if is_crowded and placement.home is not None and wanted.region is None and question not in self._wide:
            self._wide.add(question)
            self._refreshing.add(question)
            self._spawn(self._refresh(placement))

    async def _refresh(self, placement: Placement) -> None:
        """Search anew, and ask nodes that jobs ask no more: they go to those that have just answered."""
        question, home = placement.question, placement.home
        try:
            candidates = (await self._search(question)).candidates
            if home is None:  # it is told by what was measured, of all regions
                measured = {item.node for item in candidates if self._measurements.rtt_ms(item.node) is not None}
                await self._prober.refresh(to_measure(candidates, measured, self._random))
            elif question in self._wide:
                at_home = [item for item in candidates if item.body.region is home]
                allowed = [item for item in at_home if placement.objection(item) is None]
                if _is_any_free(await self._ranked(allowed, placement)):
                    self._wide.discard(question)
        finally:
            self._refreshing.discard(question)

    async def _ranked(
        self, candidates: list[Candidate], placement: Placement, *, thorough: bool = False
    ) -> list[Choice]:
        """Probe and rank, and wait for those that have not answered lately; if nobody is free, ask eight more."""
        asked = to_probe(candidates, self._knowledge(candidates, placement), self._random)
        probes = await self._prober.probe_all(asked, None if thorough else self._worth_of(asked, placement))
        others = [candidate for candidate in candidates if candidate not in asked]
        if others and not self._free(probes):
            more = to_probe(others, self._knowledge(others, placement), self._random)
            probes |= await self._prober.probe_all(more, None if thorough else self._worth_of(candidates, placement))
            asked += more
        heard_out = {candidate.node for candidate in asked if not self._prober.is_asking(candidate)}
        return self._ranked_by(candidates, probes, placement, asked=heard_out)

    def _worth_of(self, asked: Sequence[Candidate], placement: Placement) -> Worth:
        """Return how long those who have not answered yet are worth waiting for, were they idle."""
        blocked = self._breakers.blocked(self._monotonic())

        def worth_ms(probes: Mapping[PeerId, Probe], pending: Collection[Candidate], first_ms: float) -> float:
            answered = [self._choice(item, probes.get(item.node), placement, blocked, ()) for item in asked]
            best = min(
                (choice.cost_ms for choice in answered if choice.standing is Standing.ANSWERED), default=math.inf
            )
            idle = [self._choice(item, None, placement, blocked, ()) for item in pending]
            return worth_waiting_ms(best, idle, placement.home, first_ms)

        return worth_ms

    def _ranked_at_once(self, candidates: list[Candidate], placement: Placement) -> list[Choice]:
        """Rank by the answers of the last seconds; none if no healthy node was free then. Others are asked meanwhile.

        One dead node among many would hold up every job for as long as its advert lasts.
        """
        probes = self._prober.fresh(candidates)
        free = self._free(probes)
        if not free:
            return []
        asked = to_probe(candidates, self._knowledge(candidates, placement, ready=free), self._random)
        if any(candidate.node not in probes for candidate in asked):
            self._prober.begin(asked)
        return self._ranked_by(candidates, probes, placement, asked=())

    def _free(self, probes: Mapping[PeerId, Probe]) -> set[PeerId]:
        blocked = self._breakers.blocked(self._monotonic())
        return {node for node, probe in probes.items() if probe.is_free and node not in blocked}

    def _knowledge(
        self, candidates: Sequence[Candidate], placement: Placement, ready: Collection[str] = ()
    ) -> Knowledge:
        nodes = {candidate.node for candidate in candidates}
        rtt_ms = {node: rtt_ms for node in nodes if (rtt_ms := self._measurements.last_rtt_ms(node)) is not None}
        return Knowledge(placement.home, rtt_ms, self._breakers.blocked(self._monotonic()), ready)

    def _ranked_by(
        self,
        candidates: list[Candidate],
        probes: Mapping[PeerId, Probe],
        placement: Placement,
        *,
        asked: Collection[str],
    ) -> list[Choice]:
        blocked = self._breakers.blocked(self._monotonic())
        choices = [self._choice(item, probes.get(item.node), placement, blocked, asked) for item in candidates]
        return rank(choices, self._random)

    def _choice(
        self,
        candidate: Candidate,
        probe: Probe | None,
        placement: Placement,
        blocked: Collection[str],
        asked: Collection[str],
    ) -> Choice:
        home = None if placement.home is None else placement.home.value
        observed = self._measurements.observed(candidate.node, candidate.body.model.name)
        cost = cost_of(candidate.body, probe, observed, placement.size, home=home)
        standing = standing_of(candidate.node, probe, blocked=blocked, asked=asked)
        return Choice(candidate, probe, cost, observed, standing)


def _is_any_free(choices: Sequence[Choice]) -> bool:
    """Return whether a job could begin at once, at a node that has not failed lately."""
    answered = (choice.probe for choice in choices if choice.standing is Standing.ANSWERED)
    return any(probe is not None and probe.is_free for probe in answered)


def _served_under_another_name(model: str, everything: Found) -> Found:
    """Keep the candidates of the model that ``model`` means; without one, say which models there are."""
    names = {candidate.body.model.name for candidate in everything.candidates}
    resolved = resolve_name(model, names)
    kept = [candidate for candidate in everything.candidates if candidate.body.model.name == resolved]
    reasons = everything.reasons.copy()
    if not kept:
        reasons.update(f"serves {candidate.body.model.name}" for candidate in everything.candidates)
    return Found(kept, everything.excluded, reasons)


def _nobody(wanted: Wanted, found: Found, excluded: Counter[str], asked_by: str) -> NoNodeFound:
    what = wanted.model or f"any {wanted.task} model"
    where = f" in {wanted.region}" if wanted.region else ""
    if excluded:
        return NoNodeFound(
            f"Nodes serve {what}, but none that may do this job. Loosen what you demand of them, or wait until another "
            "one comes.",
            reasons=excluded,
        )
    if asked_by:
        return NoNodeFound(f"No live node serves {what}{where} for {wanted.task}. {asked_by}.", reasons=found.reasons)
    return NoNodeFound(
        f"No live node serves {what}{where}. 'gpunode nodes' shows what is served now; choose another model, or try "
        "again shortly.",
        reasons=found.reasons,
    )
