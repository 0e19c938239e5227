"""Choosing the next token of one job from the model's logits.

Randomness comes from the seed and the token's position alone: it does not depend on what else runs, on the device, or
on whether the job was resumed.
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpunode_engines.base import GenerateRequest, TokenLogprob
from gpunode_engines.errors import BackendFailed

_UNIFORM_BITS = 53
"""As many as a float holds exactly."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The next token. logprob: None unless the request asks for it."""

    token_id: int
    logprob: TokenLogprob | None


class TokenChooser:
    """Sampling of one job. Filters apply in llama.cpp's order: penalties, top_k, top_p, min_p, temperature.

    The repetition penalty counts prompt and answer, as in transformers; presence and frequency count the answer only,
    as in OpenAI's interface.
    """

    def __init__(self, request: GenerateRequest, end_ids: Iterable[int]) -> None:
        self._request = request
        self._seed = secrets.randbits(32) if request.seed is None else request.seed
        self._forbidden = torch.tensor(sorted(end_ids)) if request.ignore_eos else None
        self._seen = set(request.prompt_ids) | set(request.resume_ids)
        self._answer = Counter(request.resume_ids)
        self._position = len(request.resume_ids)

    def choose(self, logits: Tensor) -> Choice:
        """Return the next token. logits: shape (vocabulary,), overwritten.

        Raises:
            BackendFailed: the model computed no numbers.
        """
        scores = logits.float()
        logprob = self._reporter(scores)
        self._penalise(scores)
        if self._forbidden is not None:
            scores[self._forbidden.to(scores.device)] = -torch.inf
        token_id = int(scores.argmax()) if self._request.temperature == 0 else self._sample(scores)
        if not torch.isfinite(scores[token_id]):
            raise BackendFailed("The model computed no usable numbers for the next token; try another node.")
        self._seen.add(token_id)
        self._answer[token_id] += 1
        self._position += 1
        return Choice(token_id, logprob.of(token_id) if logprob else None)

    def _reporter(self, scores: Tensor) -> "_Logprobs | None":
        count = self._request.logprobs
        return None if count is None else _Logprobs(scores.log_softmax(-1), count)

    def _penalise(self, scores: Tensor) -> None:
        request = self._request
        if request.repetition_penalty != 1.0:
            seen = _index(sorted(self._seen), scores)
            values = scores[seen]
            scores[seen] = torch.where(
                values > 0, values / request.repetition_penalty, values * request.repetition_penalty
            )
        if (request.presence_penalty or request.frequency_penalty) and self._answer:
            ids = sorted(self._answer)
            counts = torch.tensor([self._answer[token_id] for token_id in ids], device=scores.device)
            scores[_index(ids, scores)] -= request.presence_penalty + request.frequency_penalty * counts

    def _sample(self, scores: Tensor) -> int:
        """Draw from what the filters leave; candidates are in order of probability, ties in order of id."""
        request = self._request
        if 0 < request.top_k < scores.shape[-1]:
            kept, ids = scores.topk(request.top_k)
        else:
            kept, ids = scores.sort(descending=True, stable=True)
        probabilities = kept.double().softmax(-1)
        # A candidate stays while those before it have not reached top_p together.
        count = int((probabilities.cumsum(-1) - probabilities < request.top_p).sum()) if request.top_p < 1 else len(ids)
        if request.min_p > 0:
            count = min(count, int((probabilities >= request.min_p * probabilities[0]).sum()))
        weights = (kept[:count].double() / request.temperature).softmax(-1).cumsum(-1)
        drawn = int(torch.searchsorted(weights, self._uniform() * float(weights[-1]), right=True))
        return int(ids[min(drawn, count - 1)])

    def _uniform(self) -> float:
        """Return a number in [0, 1) for this position."""
        digest = hashlib.blake2b(f"{self._seed}:{self._position}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> (64 - _UNIFORM_BITS)) / float(1 << _UNIFORM_BITS)


class _Logprobs:
    """Log-probabilities before penalties and filters, as llama.cpp reports them."""

    def __init__(self, values: Tensor, count: int) -> None:
        self._values = values
        self._count = count

    def of(self, token_id: int) -> TokenLogprob:
        top = self._values.topk(self._count)
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return TokenLogprob(token_id=token_id, logprob=float(self._values[token_id]), top=tuple(pairs))


def _index(ids: Sequence[int], scores: Tensor) -> Tensor:
    return torch.tensor([token_id for token_id in ids if token_id < scores.shape[-1]], device=scores.device)
