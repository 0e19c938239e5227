from dataclasses import replace

from gpunode._job_cost import JobCost
from gpunode._job_requests import Job, patience_with
from gpunode._selection import Candidate, Choice, Probe
from gpunode_protocol.identity import Identity
from gpunode_protocol.payloads import BlobRef, ChatMessage, ImageParams, LlmParams, SpeechParams, input_tokens_bound
from gpunode_protocol.tasks import Task

from tests.sdk.world import NO_SPEED, Keys

PARAMS = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=100)


def test_patience_follows_from_speed_and_queue() -> None:
    """4 x (prefill + wait) until the first token, then a quarter of the advertised speed."""
    candidate = Candidate(Keys().advert(Identity.from_seed(b"\x03" * 32)), "dht")
    job = Job(id="x", task=Task.LLM, params=PARAMS, cost=JobCost(Task.LLM), ends_at=0.0, deadline_at=0, salt=bytes(32))
    prefill_s = input_tokens_bound(PARAMS) / 500
    quick = patience_with(Choice(candidate), job)
    assert quick.first_output_s == max(2.0, 4 * prefill_s)
    assert quick.min_units_per_s == 12.5
    waiting = Probe(rtt_ms=1, active=4, queued=1, slots=4, wait_ms=2_000)
    assert patience_with(Choice(candidate, waiting), job).first_output_s == 4 * (prefill_s + 2)


def test_pictures_come_in_lumps() -> None:
    """A step may take longer than a second of a language model's: the node is given eight of them."""
    candidate = Candidate(Keys().advert(Identity.from_seed(b"\x03" * 32)), "dht")
    params = ImageParams(prompt="p", width=1024, height=1024, steps=30, guidance_millionths=0)
    job = Job(id="x", task=Task.IMAGE_GEN, params=params, cost=JobCost(Task.LLM), ends_at=0.0, deadline_at=0, salt=b"")
    patience = patience_with(Choice(candidate), job)
    step_s = 1024 / 50  # image units, at the advertised 50 a second
    assert patience.first_output_s == 2 + 8 * step_s
    assert patience.progress_window_s == 8 * step_s
    assert patience.min_units_per_s == 12.5


def test_speech_comes_in_windows() -> None:
    """Nothing of the first 30 s of audio is heard of before all of it is decoded: the node is given four times that."""
    candidate = Candidate(Keys().advert(Identity.from_seed(b"\x03" * 32)), "dht")
    audio = BlobRef(id=0, media_type="audio/wav", size_bytes=1, digest=bytes(32))
    for max_audio_ms, window_ms in ((3_600_000, 30_000), (1_000, 1_000)):
        params = SpeechParams(audio=audio, max_audio_ms=max_audio_ms)
        job = Job(
            id="x", task=Task.WHISPER, params=params, cost=JobCost(Task.LLM), ends_at=0.0, deadline_at=0, salt=b""
        )
        window_s = window_ms / 50  # milliseconds of audio, at the advertised 50 a second
        assert patience_with(Choice(candidate), job).first_output_s == 2 + 4 * window_s


def test_a_node_that_states_no_speed_is_given_time_as_the_slowest_that_is_worth_waiting_for() -> None:
    """Nobody trickles for ten minutes, and a picture's first lump has its time."""
    candidate = Candidate(Keys().advert(Identity.from_seed(b"\x03" * 32), speed=NO_SPEED), "dht")
    job = Job(id="x", task=Task.LLM, params=PARAMS, cost=JobCost(Task.LLM), ends_at=0.0, deadline_at=0, salt=b"")
    assert patience_with(Choice(candidate), job).min_units_per_s == 0.25
    picture = ImageParams(prompt="p", width=512, height=512, steps=30, guidance_millionths=0)
    patience = patience_with(Choice(candidate), replace(job, task=Task.IMAGE_GEN, params=picture))
    assert (patience.min_units_per_s, patience.progress_window_s) == (6.4, 8 * 256 / 25.6)
