"""The expected time to a whole answer as milliseconds that add up, pure; docs/routing.md explains each term."""

from dataclasses import dataclass, replace
from typing import Final

from gpunode_protocol.adverts import Advert
from gpunode_protocol.messages import LIVENESS_TIMEOUT_S
from gpunode_protocol.payloads import EmbeddingParams, LlmParams, Params, worst_case_output_units
from gpunode_protocol.probe import PROBE_TIMEOUT_S

from gpunode._observed import DEFAULT_SLOWDOWN, Observed
from gpunode._probe_answer import Probe
from gpunode.routing import CostTerms, RttFrom

RELAYED_MS: Final = 83.0
"""What opening a stream through a relay cost more than a direct one where both were measured (88 and 5 ms)."""
FAILURE_MS: Final = 1000 * LIVENESS_TIMEOUT_S
"""What a node that falls silent costs until it is given up."""
SILENCE_MS: Final = 1000 * PROBE_TIMEOUT_S
"""A node that did not answer a probe is at least so far away."""
UNKNOWN_SPEED_MS: Final = 20_000.0
"""A node that states no speed for the job's work (facts: Darkbloom's cold model, 20 to 30 s)."""
BYTES_PER_TOKEN: Final = 4
"""Of text, about, in tokenizers of today's models; the node counts exactly, but only once it has the job."""
TEMPLATE_TOKENS: Final = 8
"""What a chat template adds to a message, about."""
TYPICAL_OUTPUT_TOKENS: Final = 256
"""An answer is reckoned no longer than this: ``max_tokens`` is a limit, and few answers reach a high one."""


@dataclass(frozen=True)
class JobSize:
    """What a job is reckoned to take, in the task's units (see ``prices``)."""

    input_units: int = 256
    output_units: int = TYPICAL_OUTPUT_TOKENS


TYPICAL_SIZE: Final = JobSize()
"""What is reckoned with when nothing is said."""


def size_of(params: Params) -> JobSize:
    """Return the expected size of a job."""
    match params:
        case LlmParams():
            texts = [message.content for message in params.messages] + [params.tools or ""]
            tokens = sum(_tokens(text) for text in texts) + TEMPLATE_TOKENS * len(params.messages)
            return JobSize(tokens, min(params.max_tokens, TYPICAL_OUTPUT_TOKENS))
        case EmbeddingParams():
            return JobSize(sum(_tokens(text) for text in params.inputs), 0)
        case _:
            return JobSize(0, worst_case_output_units(params))


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


@dataclass(frozen=True)
class Cost:
    """The terms, and where their measurements come from. output_units_per_s: what was reckoned with."""

    terms: CostTerms
    rtt_from: RttFrom
    is_speed_observed: bool
    output_units_per_s: float


NO_COST: Final = Cost(CostTerms(), "unknown", is_speed_observed=False, output_units_per_s=0.0)


def cost_of(advert: Advert, probe: Probe | None, observed: Observed, size: JobSize, *, home: str | None) -> Cost:
    """Return what a job of a size is expected to take at a node.

    probe: its answer of the last seconds, None if there is none. home: the client's region.
    """
    speed = advert.model.speed
    input_units_per_s = speed.input_milliunits_per_s / 1000
    output_units_per_s = observed.output_units_per_s or speed.output_milliunits_per_s / 1000
    prefill_ms = _spent_ms(size.input_units, input_units_per_s)
    if observed.reading is not None and size.input_units:
        prefill_ms = observed.reading.expected_ms(size.input_units, input_units_per_s)
    decode_ms = _spent_ms(size.output_units, output_units_per_s)
    unknown = (prefill_ms is None) + (decode_ms is None)
    rtt_ms, rtt_from = _rtt(advert, probe, observed, home)
    terms = CostTerms(
        rtt_ms=rtt_ms,
        prefill_ms=prefill_ms or 0.0,
        decode_ms=decode_ms or 0.0,
        relayed_ms=RELAYED_MS if advert.path == "relayed" else 0.0,
        failures_ms=observed.failure_share * FAILURE_MS,
        silence_ms=0.0 if probe else SILENCE_MS,
        unknown_speed_ms=unknown * UNKNOWN_SPEED_MS,
    )
    return Cost(
        terms if probe is None else _under_load(terms, probe, observed),
        rtt_from,
        observed.output_units_per_s is not None or (not size.output_units and observed.reading is not None),
        output_units_per_s,
    )


def _spent_ms(units: int, units_per_s: float) -> float | None:
    """Return the time for an amount of work, None if it cannot be told."""
    if not units:
        return 0.0
    return 1000 * units / units_per_s if units_per_s > 0 else None


def _rtt(advert: Advert, probe: Probe | None, observed: Observed, home: str | None) -> tuple[float, RttFrom]:
    if probe is not None:
        return probe.rtt_ms, "probe"
    if observed.rtt_ms is not None:
        return observed.rtt_ms, "before"
    if home in advert.rtt_ms:
        return float(advert.rtt_ms[home]), "advert"
    return 0.0, "unknown"


def _under_load(terms: CostTerms, probe: Probe, observed: Observed) -> CostTerms:
    """Add what the probe tells: waiting for a slot, for the model, and for those who are served at the same time."""
    work_ms = terms.prefill_ms + terms.decode_ms
    slots = max(1, probe.slots)
    slowdown = DEFAULT_SLOWDOWN if observed.slowdown is None else observed.slowdown
    is_loading = probe.wait_ms > 0 and probe.told_active + probe.queued < slots
    # the node's own estimate covers the jobs that it knows; those that this client has just sent are on top
    untold = max(0, probe.active + probe.queued + 1 - slots)
    if probe.wait_ms and not is_loading:
        untold = min(untold, probe.sent)
    return replace(
        terms,
        queue_ms=(0.0 if is_loading else float(probe.wait_ms)) + untold * work_ms / slots,
        model_load_ms=float(probe.wait_ms) if is_loading else 0.0,
        sharing_ms=slowdown * work_ms * probe.beside,
    )
