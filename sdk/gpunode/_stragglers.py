"""How long nodes are waited for that have not answered a probe, once the first one has. Pure."""

import math
from collections.abc import Iterable
from typing import Final

from gpunode_protocol.geography import KM_PER_RTT_MS, REFERENCE_POINTS, distance_km
from gpunode_protocol.regions import Region

from gpunode._selection import Choice

SET_UP_TRIPS: Final = 4
"""Round trips from a probe's beginning to its answer where there is no connection yet: two and a half to dial, a little
over one to ask (measured, over QUIC). Who has a connection answers after one."""
_REGION_SHARE: Final = 0.5
"""Of the way between two regions' reference points: nodes may be on this side of theirs, and clients on the other."""


def worth_waiting_ms(best_ms: float, pending: Iterable[Choice], home: Region | None, first_ms: float) -> float:
    """Return until when it is worth waiting for somebody's answer, in ms after all were asked.

    Waiting costs what it takes. So a node is waited for as long as its work, begun when it answers, could still be done
    before that of the best one, begun when the first one answered. Whoever takes long to answer is far away, too: its
    round trip is at least a quarter of that.

    Args:
        best_ms: what the job is expected to take at the best of those who have answered; infinity: nobody has.
        pending: those who have not, costed as idle.
        home: the client's region, None = unknown.
        first_ms: when the first one answered.
    """
    return max((_until_ms(best_ms, choice, home, first_ms) for choice in pending), default=0.0)


def _until_ms(best_ms: float, choice: Choice, home: Region | None, first_ms: float) -> float:
    terms = choice.cost.terms
    gain_ms = best_ms - (terms.total_ms - terms.silence_ms - terms.rtt_ms)  # what may be left for its round trip
    least_rtt_ms = _least_rtt_ms(choice, home)
    if gain_ms <= least_rtt_ms:
        return 0.0
    if math.isinf(gain_ms):
        return gain_ms
    return min((first_ms + gain_ms) * SET_UP_TRIPS / (SET_UP_TRIPS + 1), first_ms + gain_ms - least_rtt_ms)


def _least_rtt_ms(choice: Choice, home: Region | None) -> float:
    """Return the round trip that a node is presumed to have at least."""
    if choice.cost.rtt_from != "unknown":
        return choice.cost.terms.rtt_ms
    region = choice.candidate.body.region
    if home is None or region is home:
        return 0.0
    return _REGION_SHARE * distance_km(REFERENCE_POINTS[region], REFERENCE_POINTS[home]) / KM_PER_RTT_MS
