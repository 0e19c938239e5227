"""What a caller saw of an answer whose node was killed in the middle of it, and how good that was. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from gpunode.types import RouteSegment


@dataclass(frozen=True, slots=True)
class Arrival:
    """One chunk. at_s: when the caller got it, monotonic seconds. ids: its tokens, none if it is text alone."""

    at_s: float
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One answer, shown in chunks.

    expected: what an uncut answer to the same prompt has. arrivals: all chunks; the first ``before`` of them came
    before the kill. ids: of the verified result. vouched: output units of all parts, as the last node's receipt and
    the client's final voucher state them. parts: who gave what. is_whole: it came to its end.
    """

    job: str
    expected: tuple[int, ...]
    arrivals: tuple[Arrival, ...]
    before: int
    ids: tuple[int, ...]
    vouched: int
    parts: tuple[RouteSegment, ...]
    is_whole: bool = True

    @property
    def shown(self) -> tuple[int, ...]:
        """All tokens that the caller got, in order."""
        return _ids(self.arrivals)

    @property
    def was_cut(self) -> bool:
        """Whether the killed node had not finished before it was killed."""
        return len(self.parts) > 1 or not self.is_whole

    @property
    def is_identical(self) -> bool:
        """Whether nobody could tell it from an uncut answer."""
        return self.is_whole and self.shown == self.expected

    @property
    def prefix_unchanged(self) -> bool:
        """Whether the result begins with what the caller had before the kill."""
        seen = _ids(self.arrivals[: self.before])
        return self.ids[: len(seen)] == seen


def gaps_ms(cut: Cut) -> Iterator[float]:
    """Yield how long the caller waited between the last chunk of a node and the first one of the next."""
    ends = _ends_of_parts(cut)
    units = 0
    for earlier, later in zip(cut.arrivals, cut.arrivals[1:], strict=False):
        units += len(earlier.ids)
        if units in ends and later.ids:
            yield 1000 * (later.at_s - earlier.at_s)


def tokens_lost(cut: Cut) -> int:
    """Return how many tokens of the result, or of those that were vouched for, the caller did not get."""
    return sum(end - begin for _, _, begin, end in _differences(cut)) + max(0, max(_counts(cut)) - len(cut.ids))


def tokens_repeated(cut: Cut) -> int:
    """Return how many tokens the caller got that the result does not have, or that nobody vouched for."""
    return sum(end - begin for begin, end, _, _ in _differences(cut)) + max(0, len(cut.ids) - min(_counts(cut)))


def _counts(cut: Cut) -> tuple[int, int]:
    """Return how many tokens there were by what was signed, and by the parts."""
    return cut.vouched, sum(part.output_units for part in cut.parts)


def _differences(cut: Cut) -> Iterator[tuple[int, int, int, int]]:
    """Yield where shown and resulting tokens differ: begin and end among the one, begin and end among the other."""
    matcher = SequenceMatcher(None, cut.shown, cut.ids, autojunk=False)
    for kind, *places in matcher.get_opcodes():
        if kind != "equal":
            yield places[0], places[1], places[2], places[3]


def _ends_of_parts(cut: Cut) -> set[int]:
    """Return after how many tokens one node followed another."""
    ends, units = set(), 0
    for part in cut.parts[:-1]:
        units += part.output_units
        ends.add(units)
    return ends


def _ids(arrivals: tuple[Arrival, ...]) -> tuple[int, ...]:
    return tuple(number for arrival in arrivals for number in arrival.ids)
