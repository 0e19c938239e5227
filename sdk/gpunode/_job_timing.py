"""What a finished job tells of its node, by the client's own clock. Pure."""

from dataclasses import dataclass
from typing import Final

from gpunode_protocol.payloads import Usage
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.tasks import Task

from gpunode._observed import Timing
from gpunode._race import Part
from gpunode._selection import Choice
from gpunode.types import StartTimes

BUSY_START_MS: Final = 10.0
"""A client that has just looked for nodes or asked them still does while its job begins: connections are made, which
tells nothing of how fast the node reads."""
START_NOISE_MS: Final = 200.0
"""What that may take. A node that is later than its advert says by more is slow all the same."""
MAX_PAUSED_SHARE: Final = 0.1
"""A caller who pauses longer than this share of a job measures itself."""


@dataclass(frozen=True)
class Spans:
    """In ms. first_ms: from the request to the first output. output_ms: from there to the last one.

    total_ms: from the request to the end. paused_ms: while nobody read. stated_decode_ms: from first output to end, as
    the node's receipt states it. start_ms: what looking nodes up and asking them took before the request.
    """

    first_ms: float
    output_ms: float
    total_ms: float
    paused_ms: float
    stated_decode_ms: float
    start_ms: float = 0.0


def spans_of(part: Part, stated: Receipt, start: StartTimes, *, now: float) -> Spans:
    """Return how long a part took that is over. stated: by its node. start: of the job. now: monotonic seconds."""
    first_at = now if part.begun_at is None else part.begun_at
    last_at = now if part.last_at is None else part.last_at
    return Spans(
        first_ms=1000 * (first_at - part.sent_at),
        output_ms=1000 * (last_at - first_at),
        total_ms=1000 * (now - part.sent_at),
        paused_ms=1000 * part.link.clock.lost_s,
        stated_decode_ms=float(max(0, stated.duration_ms - stated.ttft_ms)),
        start_ms=start.looking_up_ms + start.probing_ms,
    )


def timing_of(choice: Choice, task: Task, usage: Usage, spans: Spans, *, at: float) -> Timing:
    """Return what the job tells of speed; units of 0 where it tells nothing. at: Unix seconds of the end.

    A node that was expected to let the job wait tells nothing of how fast it reads. One that said that it is idle and
    lets jobs wait all the same counts as slow: that is what it is for those who ask it. A first job at a node, while
    the client was busy with its start, tells of reading only if that took far longer than advertised.
    """
    terms = choice.cost.terms
    rtt_ms = choice.probe.rtt_ms if choice.probe else terms.rtt_ms
    load = choice.probe.beside if choice.probe else 0.0
    has_waited = terms.queue_ms + terms.model_load_ms > 0
    is_steady = spans.paused_ms <= MAX_PAUSED_SHARE * spans.total_ms
    whole_ms = max(0.0, spans.total_ms - rtt_ms)
    input_units, prefill_ms, output_units, decode_ms = 0, 0.0, 0, 0.0
    match task:
        case Task.LLM:
            prefill_ms = max(0.0, spans.first_ms - rtt_ms)
            input_units = 0 if has_waited else usage.input_tokens + usage.resumed_tokens
            # a short answer may arrive all at once: of both measurements the slower one
            decode_ms = max(spans.output_ms, spans.stated_decode_ms)
            output_units = max(0, usage.output_tokens - 1)
        case Task.EMBEDDING:
            input_units, prefill_ms = 0 if has_waited else usage.input_tokens, whole_ms
        case _:
            output_units, decode_ms = 0 if has_waited else usage.image_units or usage.audio_ms, whole_ms
    if not is_steady:
        input_units = output_units = 0
    if _is_start_noise(choice, spans, prefill_ms):
        input_units = 0
    return Timing(at, load, input_units, prefill_ms, output_units, decode_ms)


def _is_start_noise(choice: Choice, spans: Spans, prefill_ms: float) -> bool:
    is_first = choice.observed.reading is None and spans.start_ms >= BUSY_START_MS
    return is_first and prefill_ms - choice.cost.terms.prefill_ms <= START_NOISE_MS
