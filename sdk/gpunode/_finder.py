"""From a wish to nodes in the order in which they should be tried."""

from collections.abc import Callable, Collection
from dataclasses import replace
from random import Random

from gpunode_protocol.regions import Region

from gpunode._breakers import Breakers
from gpunode._discovery import Discovery, Found
from gpunode._probing import Prober
from gpunode._selection import Candidate, Choice, Wanted, rank, to_probe
from gpunode.errors import NoNodeFound


class Finder:
    """Discovers, probes and ranks.

    Args:
        discovery, prober, breakers: see there.
        random: breaks ties.
        monotonic: seconds.
    """

    def __init__(
        self,
        discovery: Discovery,
        prober: Prober,
        breakers: Breakers,
        *,
        random: Random,
        monotonic: Callable[[], float],
    ) -> None:
        self._discovery = discovery
        self._prober = prober
        self._breakers = breakers
        self._random = random
        self._monotonic = monotonic

    async def choices(self, wanted: Wanted, *, home: Region | None) -> list[Choice]:
        """Return the nodes to try, best first, at least one; home: the client's region.

        Raises:
            NoNodeFound: with the models that there are, and why nodes do not qualify.
        """
        found = await self._discovery.find(wanted, home=home)
        if not found.candidates and wanted.model is not None:
            everything = await self._discovery.find(replace(wanted, model=None), home=home)
            found = _served_under_another_name(wanted.model, everything)
        if not found.candidates:
            raise _nobody(wanted, found)
        return await self._ranked(found.candidates, home)

    async def all(self, wanted: Wanted, *, home: Region | None) -> list[Choice]:
        """Return every node that serves what is wanted, maybe none."""
        found = await self._discovery.find(wanted, home=home)
        return await self._ranked(found.candidates, home)

    async def _ranked(self, candidates: list[Candidate], home: Region | None) -> list[Choice]:
        blocked = self._breakers.blocked(self._monotonic())
        probes = await self._prober.probe_all(to_probe(candidates, home=home, blocked=blocked, random=self._random))
        return rank(candidates, probes, blocked=blocked, random=self._random)


def resolve_name(name: str, names: Collection[str]) -> str | None:
    """Return the advertised name that a shorter, longer or differently written one means; None if that is not clear.

    ``qwen2.5-7b`` means ``qwen2.5-7b-instruct``, and ``SmolLM2-135M-Instruct`` means ``smollm2-135m``.
    """
    wanted = name.lower()
    exact = {other for other in names if other.lower() == wanted}
    near = {other for other in names if _extends(other.lower(), wanted) or _extends(wanted, other.lower())}
    for matches in (exact, near):
        if len(matches) == 1:
            return matches.pop()
    return None


def _extends(name: str, prefix: str) -> bool:
    return name.startswith(f"{prefix}-")


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
