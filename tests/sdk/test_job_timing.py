from dataclasses import replace

from gpunode._cost import Cost
from gpunode._job_timing import Spans, timing_of
from gpunode._observed import Observed
from gpunode._probe_answer import Probe
from gpunode._reading import Sample, reading_of
from gpunode._selection import Candidate, Choice
from gpunode.routing import CostTerms
from gpunode_protocol.identity import Identity
from gpunode_protocol.payloads import Usage
from gpunode_protocol.tasks import Task

from tests.sdk.world import Keys

CANDIDATE = Candidate(Keys().advert(Identity.from_seed(b"\x03" * 32)), "dht")
SPANS = Spans(first_ms=300, output_ms=1000, total_ms=1300, paused_ms=0, stated_decode_ms=900)
TOKENS = Usage(input_tokens=40, output_tokens=51)


def _choice(terms: CostTerms | None = None) -> Choice:
    cost = Cost(terms or CostTerms(rtt_ms=100), "probe", is_speed_observed=False, output_units_per_s=1)
    return Choice(CANDIDATE, Probe(100, active=1, queued=0, slots=4), cost)


def test_a_chat_tells_of_reading_and_writing() -> None:
    """Reading is what the first token took beyond the way; writing is the rest."""
    timing = timing_of(_choice(), Task.LLM, TOKENS, SPANS, at=7.0)
    assert (timing.at, timing.load) == (7.0, 0.25)
    assert (timing.input_units, timing.prefill_ms) == (40, 200)
    assert (timing.output_units, timing.decode_ms) == (50, 1000)


def test_of_both_measurements_of_writing_the_slower_one_counts() -> None:
    """An answer that arrives all at once was not made in no time."""
    at_once = Spans(first_ms=1290, output_ms=10, total_ms=1300, paused_ms=0, stated_decode_ms=900)
    assert timing_of(_choice(), Task.LLM, TOKENS, at_once, at=0).decode_ms == 900


def test_a_job_that_was_expected_to_wait_tells_nothing_of_reading() -> None:
    """Where no wait was told of, waiting counts as slowness."""
    for terms in (CostTerms(queue_ms=100), CostTerms(model_load_ms=100)):
        timing = timing_of(_choice(terms), Task.LLM, TOKENS, SPANS, at=0)
        assert (timing.input_units, timing.output_units) == (0, 50)


def test_a_first_job_in_a_busy_start_tells_nothing_of_reading_unless_it_is_far_too_late() -> None:
    """Connections are made meanwhile. A node whose advert lies is found out all the same, and later jobs count."""
    busy = replace(SPANS, start_ms=250)  # it read for 200 ms
    advertised = CostTerms(rtt_ms=100, prefill_ms=50)
    timing = timing_of(_choice(advertised), Task.LLM, TOKENS, busy, at=0)
    assert (timing.input_units, timing.output_units) == (0, 50)
    late = replace(busy, first_ms=360)
    assert timing_of(_choice(advertised), Task.LLM, TOKENS, late, at=0).input_units == 40
    known = replace(_choice(advertised), observed=Observed(reading=reading_of([Sample(40, 100.0)])))
    assert timing_of(known, Task.LLM, TOKENS, busy, at=0).input_units == 40
    assert timing_of(_choice(advertised), Task.LLM, TOKENS, SPANS, at=0).input_units == 40


def test_a_caller_who_pauses_measures_itself() -> None:
    """So nothing is learned of the node."""
    paused = Spans(first_ms=300, output_ms=1000, total_ms=1300, paused_ms=500, stated_decode_ms=900)
    timing = timing_of(_choice(), Task.LLM, TOKENS, paused, at=0)
    assert (timing.input_units, timing.output_units) == (0, 0)


def test_other_tasks_are_measured_as_a_whole() -> None:
    """Vectors by what was read, pictures and speech by what was made."""
    vectors = timing_of(_choice(), Task.EMBEDDING, Usage(input_tokens=40), SPANS, at=0)
    assert (vectors.input_units, vectors.prefill_ms, vectors.output_units) == (40, 1200, 0)
    pictures = timing_of(_choice(), Task.IMAGE_GEN, Usage(images=1, image_units=32), SPANS, at=0)
    assert (pictures.input_units, pictures.output_units, pictures.decode_ms) == (0, 32, 1200)
    speech = timing_of(_choice(), Task.WHISPER, Usage(audio_ms=4600), SPANS, at=0)
    assert speech.output_units == 4600
