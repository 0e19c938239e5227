"""How long a client waits for a node before it gives it up."""

from dataclasses import dataclass

from gpunode_protocol.messages import LIVENESS_TIMEOUT_S


@dataclass(frozen=True)
class Patience:
    """How long a client waits, in seconds.

    liveness_s: for any frame. first_output_s: from ``accepted`` at the head of the queue to the first output.
    queue_s: in the queue. min_units_per_s: output units a second, over ``progress_window_s``; 0 = no demand.
    """

    liveness_s: float = LIVENESS_TIMEOUT_S
    first_output_s: float = 30.0
    queue_s: float = 300.0
    min_units_per_s: float = 0.0
    progress_window_s: float = 10.0


MIN_FIRST_OUTPUT_S = 2.0
MAX_FIRST_OUTPUT_S = 30.0


def patience_for(*, predicted_first_output_s: float, advertised_units_per_s: float) -> Patience:
    """Return the design's deadlines.

    First output within max(2 s, 4 x predicted), at most 30 s; after it a quarter of the advertised speed.
    """
    first_s = min(MAX_FIRST_OUTPUT_S, max(MIN_FIRST_OUTPUT_S, 4 * predicted_first_output_s))
    return Patience(first_output_s=first_s, min_units_per_s=advertised_units_per_s / 4)
