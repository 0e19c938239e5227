"""What was found lately, so that a client in use does not search the network before every job. Pure."""

from dataclasses import dataclass
from typing import Final

from gpunode_protocol.regions import Region

from gpunode._network import Network
from gpunode._selection import Candidate, Wanted

KEPT_S: Final = 60.0
"""Nodes announce themselves as often: an older answer may lack a whole round of them."""
REFRESH_AFTER_S: Final = 10.0
"""From then on each use has it looked up again, behind the caller's back."""

Question = tuple[Wanted, Region | None]
"""What is wanted, and where the client is."""


@dataclass(frozen=True)
class _Answer:
    """found_at: Unix seconds. network: the one against which the adverts were verified."""

    candidates: tuple[Candidate, ...]
    found_at: float
    network: Network


class CandidateMemory:
    """Answers by question. All instants are Unix seconds, which adverts expire by."""

    def __init__(self) -> None:
        self._answers: dict[Question, _Answer] = {}

    def remember(self, question: Question, candidates: list[Candidate], *, network: Network, now: float) -> None:
        """Keep what was found; nothing found is not kept, so that the next call searches again."""
        if candidates:
            self._answers[question] = _Answer(tuple(candidates), now, network)
        else:
            self._answers.pop(question, None)

    def recall(self, question: Question, *, network: Network, now: float) -> list[Candidate]:
        """Return what is still good, maybe nothing. A newer word of the tracker (revocations, keys) voids it all.

        A client that has just learned where it is goes on with what it found before, until that is looked up anew.
        """
        if question not in self._answers:
            question = self._same_for_another_home(question)
        answer = self._answers.get(question)
        if answer is None:
            return []
        if answer.network is not network or not 0 <= now - answer.found_at < KEPT_S:
            del self._answers[question]
            return []
        return [candidate for candidate in answer.candidates if candidate.body.expires_at > now]

    def _same_for_another_home(self, question: Question) -> Question:
        return next((other for other in reversed(self._answers) if other[0] == question[0]), question)

    def is_old(self, question: Question, now: float) -> bool:
        """Whether a recalled answer should be looked up again."""
        answer = self._answers.get(question)
        return answer is None or now - answer.found_at >= REFRESH_AFTER_S
