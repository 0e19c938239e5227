"""How passes are planned, and failures of a pass, with a small model of random weights in this process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from gpunode_engines.backends.packed_batch import PackedBatch, _plan, _Run
from gpunode_engines.backends.token_job import TokenJob
from gpunode_engines.base import Event, Finished, GenerateRequest, Tokens
from gpunode_engines.errors import BackendFailed, EngineStartFailed
from gpunode_engines.vocabulary import Vocabulary
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

VOCABULARY = Vocabulary(bytes([value]) for value in range(64))


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    """A Llama of two layers."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval()


def job_of(prompt: tuple[int, ...], events: list[Event], **fields: object) -> TokenJob:
    """Return a greedy job."""
    values: dict[str, object] = {
        "job_key": "job",
        "prompt_ids": prompt,
        "max_tokens": 6,
        "temperature": 0.0,
        "ignore_eos": True,
    } | fields
    request = GenerateRequest(**values)  # type: ignore[arg-type]  # -- tests pass fields of the request
    return TokenJob(request, VOCABULARY, {0}, events.append, threading.Event())


def run(batch: PackedBatch, job: TokenJob) -> None:
    """Run a job as the backend does."""
    batch.run(job)
    job.conclude()


def run_all(batch: PackedBatch, prompts: list[tuple[int, ...]]) -> list[list[int]]:
    """Run one job a prompt, all at once, and return their ids."""
    events: list[list[Event]] = [[] for _ in prompts]
    with ThreadPoolExecutor(len(prompts)) as pool:
        list(pool.map(lambda pair: run(batch, job_of(*pair)), zip(prompts, events, strict=True)))
    return [[token for event in each if isinstance(event, Tokens) for token in event.ids] for each in events]


def test_answers_are_those_of_generate(model: LlamaForCausalLM) -> None:
    """Jobs of different lengths, in rows that other jobs had before, against the library one by one."""
    prompts = [tuple(range(1, 3 + 4 * number)) for number in range(3)]
    expected = [
        model.generate(torch.tensor([prompt]), max_new_tokens=6, min_new_tokens=6, do_sample=False, eos_token_id=0)[
            0, len(prompt) :
        ].tolist()
        for prompt in prompts
    ]
    batch = PackedBatch(model, rows=3, row_tokens=32, threads=1)
    assert run_all(batch, prompts) == expected
    assert run_all(batch, prompts[::-1]) == expected[::-1]
    assert run_all(batch, prompts[1:2]) == expected[1:2]


def test_what_attention_cannot_compute_is_said_at_the_start() -> None:
    """Mistral's window is no part of its layers' types: the first pass finds it, before there is any job."""
    config = MistralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
    )
    with pytest.raises(EngineStartFailed, match="not supported"):
        PackedBatch(MistralForCausalLM(config).eval(), rows=1, row_tokens=32, threads=1)
    config.sliding_window = None
    PackedBatch(MistralForCausalLM(config).eval(), rows=1, row_tokens=32, threads=1)


def test_a_pass_has_one_token_of_each_answer_and_some_of_the_prompts() -> None:
    """Prompts share 128 tokens in order of arrival; those behind wait for another pass."""
    runs = [
        _Run(job_of((1,), []), row, [1] * length, cached)
        for row, (length, cached) in enumerate([(50, 49), (300, 200), (90, 0), (10, 0), (70, 69)])
    ]
    assert [(run.row, count) for run, count in _plan(runs)] == [(0, 1), (1, 100), (2, 28), (4, 1)]


def test_a_failing_pass_fails_its_jobs_and_the_next_works(
    model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error's own text, which may quote a prompt, does not leave the process."""
    batch = PackedBatch(model, rows=1, row_tokens=32, threads=1)
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("secret")

        patch.setattr(model, "forward", fail)
        with pytest.raises(BackendFailed, match=r"failed with RuntimeError; try again\."):
            run(batch, job_of((1, 2), []))
    events: list[Event] = []
    run(batch, job_of((1, 2), events))
    assert isinstance(events[-1], Finished)


def test_a_failing_client_harms_nobody_else(model: LlamaForCausalLM) -> None:
    """Whoever cannot be told of a token fails alone."""
    batch = PackedBatch(model, rows=2, row_tokens=32, threads=1)
    events: list[Event] = []

    def emit(event: Event) -> None:
        if isinstance(event, Tokens):
            raise BrokenPipeError

    broken = TokenJob(
        GenerateRequest(job_key="a", prompt_ids=(1,), max_tokens=6), VOCABULARY, {0}, emit, threading.Event()
    )
    with ThreadPoolExecutor(2) as pool:
        failed, fine = pool.submit(run, batch, broken), pool.submit(run, batch, job_of((1, 2), events))
        with pytest.raises(BrokenPipeError):
            failed.result()
        fine.result()
    assert events[-1] == Finished(reason="length", prompt_tokens=2, output_tokens=6)
