from typing import Any

import pytest
from gpunode._cost import (
    FAILURE_MS,
    RELAYED_MS,
    SILENCE_MS,
    TYPICAL_OUTPUT_TOKENS,
    UNKNOWN_SPEED_MS,
    JobSize,
    cost_of,
    size_of,
)
from gpunode._observed import DEFAULT_SLOWDOWN, NOTHING_OBSERVED, Observed
from gpunode._probe_answer import Probe
from gpunode._reading import Sample, reading_of
from gpunode.routing import CostTerms
from gpunode_protocol.adverts import Advert, Speed
from gpunode_protocol.identity import Identity
from gpunode_protocol.payloads import ChatMessage, EmbeddingParams, ImageParams, LlmParams

from tests.sdk.world import Keys

KEYS = Keys()
SIZE = JobSize(input_units=250, output_units=100)
"""At the advertised 500 and 50 a second: 500 ms of reading, 2,000 ms of writing."""
IDLE = Probe(rtt_ms=30, active=0, queued=0, slots=4)


def _advert(speed: Speed | None = None, **changes: Any) -> Advert:
    body = KEYS.advert(Identity.from_seed(b"\x03" * 32), **changes).body
    return body if speed is None else body.model_copy(update={"model": body.model.model_copy(update={"speed": speed})})


def _terms(probe: Probe | None = IDLE, observed: Observed = NOTHING_OBSERVED, **changes: Any) -> CostTerms:
    return cost_of(_advert(**changes), probe, observed, SIZE, home="asia").terms


def test_an_idle_node_costs_the_way_and_the_work() -> None:
    """And nothing else."""
    terms = _terms()
    assert terms == CostTerms(rtt_ms=30, prefill_ms=500, decode_ms=2000)
    assert terms.total_ms == 2530


def test_what_was_observed_replaces_what_is_claimed() -> None:
    """A node that claims ten times its speed is reckoned with what it does."""
    observed = Observed(reading=reading_of([Sample(SIZE.input_units, 5_000)]), output_units_per_s=5)
    cost = cost_of(_advert(), IDLE, observed, SIZE, home=None)
    assert (cost.terms.prefill_ms, cost.terms.decode_ms) == (5_000, 20_000)
    assert (cost.is_speed_observed, cost.output_units_per_s) == (True, 5)


@pytest.mark.parametrize(
    ("probe", "queue_ms", "load_ms"),
    [
        (Probe(30, active=4, queued=2, slots=4, wait_ms=3000), 3000, 0),  # as the node says
        (Probe(30, active=4, queued=2, slots=4), 3 * 2500 / 4, 0),  # it says nothing: three turns of four slots
        (Probe(30, active=5, queued=2, slots=4, wait_ms=3000, sent=1), 3000 + 2500 / 4, 0),  # one it cannot know of
        (Probe(30, active=0, queued=0, slots=4, wait_ms=3000), 0, 3000),  # nobody is there: the model is not
        (Probe(30, active=3, queued=0, slots=4), 0, 0),
    ],
)
def test_waiting(probe: Probe, queue_ms: float, load_ms: float) -> None:
    """For a slot or for the model."""
    terms = _terms(probe)
    assert (terms.queue_ms, terms.model_load_ms) == (queue_ms, load_ms)


def test_jobs_beside_it_lengthen_a_job() -> None:
    """By what was measured here until this client has measured it there."""
    half = Probe(30, active=2, queued=0, slots=4)
    assert _terms(half).sharing_ms == DEFAULT_SLOWDOWN * 2500 / 2
    assert _terms(half, Observed(slowdown=0.0)).sharing_ms == 0


def test_penalties() -> None:
    """Relay, failures, silence, and a speed that is not known."""
    assert _terms(path="relayed").relayed_ms == RELAYED_MS
    assert _terms(observed=Observed(failure_share=0.5)).failures_ms == FAILURE_MS / 2
    assert _terms(None).silence_ms == SILENCE_MS
    mute = Speed(input_milliunits_per_s=0, output_milliunits_per_s=50_000)
    assert _terms(speed=mute).unknown_speed_ms == UNKNOWN_SPEED_MS
    assert _terms(speed=mute).prefill_ms == 0


def test_where_the_round_trip_comes_from() -> None:
    """A probe, else an earlier one, else the advert's word for the client's region, else nothing."""
    advert = _advert(rtt_ms={"asia": 120})
    costs = [
        cost_of(advert, IDLE, Observed(rtt_ms=40), SIZE, home="asia"),
        cost_of(advert, None, Observed(rtt_ms=40), SIZE, home="asia"),
        cost_of(advert, None, NOTHING_OBSERVED, SIZE, home="asia"),
        cost_of(advert, None, NOTHING_OBSERVED, SIZE, home=None),
    ]
    assert [(cost.rtt_from, cost.terms.rtt_ms) for cost in costs] == [
        ("probe", 30),
        ("before", 40),
        ("advert", 120),
        ("unknown", 0),
    ]


def test_the_size_of_jobs() -> None:
    """Four bytes a token; answers are reckoned no longer than usual."""
    message = ChatMessage(role="user", content="x" * 400)
    assert size_of(LlmParams(messages=(message,), max_tokens=50)) == JobSize(108, 50)
    assert size_of(LlmParams(messages=(message,), max_tokens=5000)).output_units == TYPICAL_OUTPUT_TOKENS
    assert size_of(EmbeddingParams(inputs=("abcd", "abcdefgh"))) == JobSize(3, 0)
    picture = ImageParams(prompt="p", width=64, height=64, steps=8, guidance_millionths=0)
    assert size_of(picture) == JobSize(0, 32)


def test_an_embeddings_speed_is_that_of_reading() -> None:
    """There is no output whose speed could be observed."""
    cost = cost_of(_advert(), IDLE, Observed(reading=reading_of([Sample(100, 1000)])), JobSize(100, 0), home=None)
    assert (cost.is_speed_observed, cost.terms.total_ms) == (True, 1030)
