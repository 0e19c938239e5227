"""What a finished job tells of its node, by the client's own clock. Pure."""

from dataclasses import dataclass
from typing import Final

from gpunode_protocol.payloads import Usage
from gpunode_protocol.tasks import Task

from gpunode._observed import Timing
from gpunode._selection import Choice

MAX_PAUSED_SHARE: Final = 0.1
"""A caller who pauses longer than this share of a job measures itself."""


@dataclass(frozen=True)
class Spans:
    """In ms. first_ms: from the request to the first output. output_ms: from there to the last one.

    total_ms: from the request to the end. paused_ms: while nobody read. stated_decode_ms: from first output to end, as
    the node's receipt states it.
    """

    first_ms: float
    output_ms: float
    total_ms: float
    paused_ms: float
    stated_decode_ms: float


def timing_of(choice: Choice, task: Task, usage: Usage, spans: Spans, *, at: float) -> Timing:
    """Return what the job tells of speed; units of 0 where it tells nothing. at: Unix seconds of the end.

    A node that was expected to let the job wait tells nothing of how fast it reads. One that said that it is idle and
    lets jobs wait all the same counts as slow: that is what it is for those who ask it.
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
    return Timing(at, load, input_units, prefill_ms, output_units, decode_ms)
