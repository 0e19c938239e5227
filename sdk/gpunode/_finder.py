"""From a wish to nodes in the order in which they should be tried."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from random import Random
from typing import Any

from gpunode_protocol.regions import Region

from gpunode._breakers import Breakers
from gpunode._candidate_memory import CandidateMemory, Question
from gpunode._discovery import Discovery, Found
from gpunode._model_names import resolve_name
from gpunode._network import Network
from gpunode._probing import Prober
from gpunode._selection import Candidate, Choice, Wanted, rank, to_probe
from gpunode.errors import NoNodeFound


class Finder:
    """Discovers, probes and ranks. What was found lately is used again, and looked up anew in the background.

    Args:
        discovery, prober, breakers: see there.
        network: returns what is known of the network now.
        spawn: runs work that nobody waits for.
        random: breaks ties.
        clock: Unix seconds. monotonic: seconds.
    """

    def __init__(
        self,
        discovery: Discovery,
        prober: Prober,
        breakers: Breakers,
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
        self._network = network
        self._spawn = spawn
        self._random = random
        self._clock = clock
        self._monotonic = monotonic
        self._memory = CandidateMemory()
        self._refreshing: set[Question] = set()

    async def choices(self, wanted: Wanted, *, home: Region | None) -> list[Choice]:
        """Return the nodes to try, best first, at least one; home: the client's region.

        Raises:
            NoNodeFound: with the models that there are, and why nodes do not qualify.
        """
        question = (wanted, home)
        choices = await self._known_choices(question) or await self._searched_choices(question)
        self._prober.job_sent(choices[0].candidate)
        return choices

    async def _known_choices(self, question: Question) -> list[Choice]:
        """Return the nodes of an earlier search; none if not one of them answers any more."""
        known = self._memory.recall(question, network=self._network(), now=self._clock())
        choices = self._ranked_at_once(known, question[1]) or await self._ranked(known, question[1])
        if not any(choice.probe is not None for choice in choices):
            return []
        self._refresh_if_old(question)
        return choices

    async def _searched_choices(self, question: Question) -> list[Choice]:
        found = await self._search(question)
        if not found.candidates:
            raise _nobody(question[0], found)
        return await self._ranked(found.candidates, question[1])

    async def all(self, wanted: Wanted, *, home: Region | None) -> list[Choice]:
        """Return every node that serves what is wanted, maybe none; always searches."""
        found = await self._discovery.find(wanted, home=home)
        return await self._ranked(found.candidates, home)

    async def _search(self, question: Question) -> Found:
        wanted, home = question
        network = self._network()
        found = await self._discovery.find(wanted, home=home)
        if not found.candidates and wanted.model is not None:
            everything = await self._discovery.find(replace(wanted, model=None), home=home)
            found = _served_under_another_name(wanted.model, everything)
        self._memory.remember(question, found.candidates, network=network, now=self._clock())
        return found

    def _refresh_if_old(self, question: Question) -> None:
        if question not in self._refreshing and self._memory.is_old(question, self._clock()):
            self._refreshing.add(question)
            self._spawn(self._refresh(question))

    async def _refresh(self, question: Question) -> None:
        try:
            await self._search(question)
        finally:
            self._refreshing.discard(question)

    async def _ranked(self, candidates: list[Candidate], home: Region | None) -> list[Choice]:
        """Probe and rank, and wait for those that have not answered lately."""
        blocked = self._breakers.blocked(self._monotonic())
        asked = to_probe(candidates, home=home, blocked=blocked, random=self._random)
        return rank(candidates, await self._prober.probe_all(asked), blocked=blocked, random=self._random)

    def _ranked_at_once(self, candidates: list[Candidate], home: Region | None) -> list[Choice]:
        """Rank by the answers of the last seconds; none if no healthy node was free then. Others are asked meanwhile.

        One dead node among many would hold up every job for as long as its advert lasts.
        """
        blocked = self._breakers.blocked(self._monotonic())
        probes = self._prober.fresh(candidates)
        free = {node for node, probe in probes.items() if probe.is_free and node not in blocked}
        if not free:
            return []
        asked = to_probe(candidates, home=home, blocked=blocked, random=self._random, ready=free)
        if any(candidate.node not in probes for candidate in asked):
            self._spawn(self._prober.refresh(asked))
        return rank(candidates, probes, blocked=blocked, random=self._random)


def _served_under_another_name(model: str, everything: Found) -> Found:
    """Keep the candidates of the model that ``model`` means; without one, say which models there are."""
    names = {candidate.body.model.name for candidate in everything.candidates}
    resolved = resolve_name(model, names)
    kept = [candidate for candidate in everything.candidates if candidate.body.model.name == resolved]
    reasons = everything.reasons.copy()
    if not kept:
        reasons.update(f"serves {candidate.body.model.name}" for candidate in everything.candidates)
    return Found(kept, reasons)


def _nobody(wanted: Wanted, found: Found) -> NoNodeFound:
    what = wanted.model or f"any {wanted.task} model"
    where = f" in {wanted.region}" if wanted.region else ""
    return NoNodeFound(
        f"No live node serves {what}{where}. 'gpunode nodes' shows what is served now; choose another model, or try "
        "again shortly.",
        reasons=found.reasons,
    )
