"""A ranking in words: what each node would take, and why it was chosen or lost. Pure."""

from collections.abc import Collection

from gpunode_protocol.doubts import PLACE_DOUBTFUL

from gpunode._finder import Placement, Ranking
from gpunode._selection import TIE_MS, Choice, Standing
from gpunode.routing import CostTerms, RouteCandidate, RouteExplanation

_WORDS = {
    "rtt": "RTT",
    "queue": "queue",
    "model_load": "loading the model",
    "prefill": "reading",
    "decode": "writing",
    "sharing": "jobs beside it",
    "relayed": "relay",
    "failures": "failures",
    "silence": "no answer to the probe",
    "unknown_speed": "unknown speed",
}
_MAX_CAUSES = 2

_WHY_LATER = {
    Standing.DRAINING: "is leaving and takes no new jobs",
    Standing.NOT_ASKED: "not asked: others should be nearer",
    Standing.SILENT: "did not answer the probe in time",
    Standing.FAILED: "failed lately: tried last",
}


def explanation_of(ranking: Ranking, placement: Placement) -> RouteExplanation:
    """Return what ``client.explain`` returns; the ranking has at least one choice."""
    best = ranking.choices[0]
    return RouteExplanation(
        task=placement.wanted.task.value,
        model=placement.wanted.model,
        input_units=placement.size.input_units,
        output_units=placement.size.output_units,
        candidates=tuple(_candidate(choice, best, placement.doubtful) for choice in ranking.choices),
        home=placement.home and placement.home.value,
        home_from=placement.home_from,
        excluded=dict(ranking.excluded),
    )


def _candidate(choice: Choice, best: Choice, doubtful: Collection[str]) -> RouteCandidate:
    body, cost, probe = choice.candidate.body, choice.cost, choice.probe
    why = _why_chosen(choice) if choice is best else _why_lost(choice, best)
    place_doubtful = choice.node in doubtful
    return RouteCandidate(
        node=choice.node,
        region=body.region.value,
        country=body.country,
        model=choice.model,
        fingerprint=body.model.fingerprint.hex(),
        path=body.path,
        sandbox=body.sandbox,
        source=choice.candidate.source,
        chosen=choice is best,
        why=f"{why}; {PLACE_DOUBTFUL}" if place_doubtful else why,
        cost_ms=choice.cost_ms,
        terms=cost.terms,
        rtt_from=cost.rtt_from,
        speed_from="observed" if cost.is_speed_observed else "advertised",
        tokens_per_s=cost.output_units_per_s,
        active=probe.active if probe else None,
        queued=probe.queued if probe else None,
        slots=probe.slots if probe else None,
        place_doubtful=place_doubtful,
    )


def _why_chosen(best: Choice) -> str:
    if best.standing is Standing.ANSWERED:
        return "chosen: it should answer soonest"
    return f"chosen, for want of a better one: {_WHY_LATER[best.standing]}"


def _why_lost(choice: Choice, best: Choice) -> str:
    if choice.standing != best.standing:
        return _WHY_LATER[choice.standing]
    slower_ms = choice.cost_ms - best.cost_ms
    if abs(slower_ms) <= TIE_MS:
        return f"as good (within {TIE_MS:.0f} ms): chance decided"
    return f"{slower_ms:.0f} ms slower: {_causes(choice.cost.terms, best.cost.terms)}"


def _causes(terms: CostTerms, best: CostTerms) -> str:
    """Return the terms that make most of the difference."""
    theirs = best.by_name()
    more_ms = {name: value - theirs[name] for name, value in terms.by_name().items() if value > theirs[name]}
    largest = sorted(more_ms, key=lambda name: more_ms[name], reverse=True)[:_MAX_CAUSES]
    return ", ".join(f"{_WORDS[name]} +{more_ms[name]:.0f}" for name in largest)
