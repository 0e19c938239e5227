"""Sampling against its definitions, with small vocabularies."""

from collections import Counter

import pytest
import torch
from gpunode_engines.backends.token_choice import TokenChooser
from gpunode_engines.base import GenerateRequest
from gpunode_engines.errors import BackendFailed

LOGITS = [2.0, 1.0, 0.0, -1.0]


def chooser(**fields: object) -> TokenChooser:
    """Return the sampling of a request with one prompt token, the id 3; the end token is 0."""
    values: dict[str, object] = {"job_key": "job", "prompt_ids": (3,), "max_tokens": 10} | fields
    return TokenChooser(GenerateRequest(**values), {0})  # type: ignore[arg-type]  # -- tests pass fields


def drawn(count: int = 400, **fields: object) -> Counter[int]:
    """Count the first tokens of so many seeds."""
    return Counter(chooser(seed=seed, **fields).choose(torch.tensor(LOGITS)).token_id for seed in range(count))


def test_zero_temperature_takes_the_best() -> None:
    """Greedy."""
    assert drawn(20, temperature=0.0) == {0: 20}


def test_samples_follow_the_probabilities() -> None:
    """Each share lies within four standard deviations of the softmax."""
    counts = drawn(2000)
    for token_id, share in enumerate(torch.tensor(LOGITS).softmax(-1).tolist()):
        assert abs(counts[token_id] / 2000 - share) < 4 * (share * (1 - share) / 2000) ** 0.5


def test_temperature_flattens() -> None:
    """Twice the temperature makes the best token rarer."""
    assert drawn(temperature=2.0)[0] < drawn(temperature=1.0)[0] < drawn(temperature=0.5)[0]


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 1}, {0}),
        ({"top_p": 0.6}, {0}),
        ({"top_p": 0.65}, {0, 1}),
        ({"min_p": 0.3}, {0, 1}),
        ({"min_p": 0.1}, {0, 1, 2}),
    ],
)
def test_filters_leave_the_likely(fields: dict[str, object], left: set[int]) -> None:
    """The probabilities are 0.644, 0.237, 0.087 and 0.032; filters come before the temperature."""
    assert set(drawn(temperature=2.0, **fields)) == left


def test_the_repetition_penalty_counts_prompt_and_answer() -> None:
    """Positive logits are divided, negative ones multiplied."""
    assert chooser(temperature=0.0, repetition_penalty=3.0, resume_ids=(0,)).choose(torch.tensor(LOGITS)).token_id == 1
    negative = torch.tensor([-9.0, -9.0, -2.0, -1.0])
    assert chooser(temperature=0.0, repetition_penalty=3.0).choose(negative).token_id == 2


def test_presence_and_frequency_count_the_answer_only() -> None:
    """A token of the prompt costs nothing, one of the answer does, and more the more often it came."""
    even = [0.0, 0.0, 0.0, 0.1]
    assert chooser(temperature=0.0, presence_penalty=1.0).choose(torch.tensor(even)).token_id == 3
    once = chooser(temperature=0.0, frequency_penalty=0.06, resume_ids=(3,))
    twice = chooser(temperature=0.0, frequency_penalty=0.06, resume_ids=(3, 3))
    assert once.choose(torch.tensor(even)).token_id == 3
    assert twice.choose(torch.tensor(even)).token_id == 0


def test_the_end_token_can_be_forbidden() -> None:
    """For measurements that need an exact number of tokens."""
    assert chooser(temperature=0.0, ignore_eos=True).choose(torch.tensor(LOGITS)).token_id == 1


def test_a_resumed_answer_draws_the_same() -> None:
    """The number drawn depends on seed and position only."""
    whole = chooser(seed=5)
    ids = tuple(whole.choose(torch.zeros(50)).token_id for _ in range(6))
    resumed = chooser(seed=5, resume_ids=ids[:3])
    assert tuple(resumed.choose(torch.zeros(50)).token_id for _ in range(3)) == ids[3:]
    assert len(set(ids)) > 1


def test_without_a_seed_answers_differ() -> None:
    """Two jobs share no randomness."""
    first, second = chooser(), chooser()
    pairs = [[each.choose(torch.zeros(1000)).token_id for _ in range(4)] for each in (first, second)]
    assert pairs[0] != pairs[1]


def test_logprobs_are_those_before_penalties_and_filters() -> None:
    """As llama.cpp reports them: the token's own and the best ones."""
    choice = chooser(temperature=0.0, top_k=1, repetition_penalty=9.0, logprobs=2).choose(torch.tensor(LOGITS))
    expected = torch.tensor(LOGITS).log_softmax(-1).tolist()
    assert choice.logprob is not None
    assert choice.logprob.logprob == pytest.approx(expected[0])
    assert [token_id for token_id, _ in choice.logprob.top] == [0, 1]
    assert chooser().choose(torch.tensor(LOGITS)).logprob is None
    own = chooser(temperature=0.0, logprobs=0).choose(torch.tensor(LOGITS)).logprob
    assert own is not None
    assert own.top == ()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_no_numbers_are_an_error(temperature: float) -> None:
    """A broken model fails the job instead of answering at random."""
    with pytest.raises(BackendFailed, match="no usable numbers"):
        chooser(temperature=temperature).choose(torch.full((4,), torch.nan))
