"""The library's own continuous batching, which serves CUDA, on the CPU with a small model of random weights."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from gpunode_engines.backends.library_batch import LibraryBatch
from gpunode_engines.backends.token_job import TokenJob
from gpunode_engines.base import Event, Finished, GenerateRequest, Tokens
from gpunode_engines.errors import BackendFailed
from gpunode_engines.vocabulary import Vocabulary
from transformers import LlamaConfig, LlamaForCausalLM

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
        max_position_embeddings=512,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def expected(model: LlamaForCausalLM) -> list[int]:
    """What generate gives for 1, 2, 3; asked before the model is switched to paged caches."""
    prompt = torch.tensor([[1, 2, 3]])
    answer: list[int] = model.generate(prompt, max_new_tokens=6, min_new_tokens=6, do_sample=False, eos_token_id=0)[
        0, 3:
    ].tolist()
    return answer


@pytest.fixture(scope="module")
def batch(model: LlamaForCausalLM) -> Iterator[LibraryBatch]:
    """Its batching, started once."""
    started = LibraryBatch(model, jobs=3, job_tokens=256)
    yield started
    started.close()


class Running:
    """A job, its events, and what its model's thread does with them."""

    def __init__(self, prompt: tuple[int, ...], *, cancel_at: int | None = None, **fields: object) -> None:
        values: dict[str, object] = {"job_key": "job", "prompt_ids": prompt, "max_tokens": 6, "ignore_eos": True}
        request = GenerateRequest(**(values | {"temperature": 0.0} | fields))  # type: ignore[arg-type]  # -- see above
        self.cancelled = threading.Event()
        self.events: list[Event] = []
        self._cancel_at = cancel_at
        self.job = TokenJob(request, VOCABULARY, {0}, self._take, self.cancelled)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        if len(self.ids) == self._cancel_at:
            self.cancelled.set()

    @property
    def ids(self) -> list[int]:
        """Of all tokens so far."""
        return [token for event in self.events if isinstance(event, Tokens) for token in event.ids]


def run(batch: LibraryBatch, running: Running) -> None:
    """Run a job as the backend does."""
    batch.run(running.job)
    running.job.conclude()


def run_all(batch: LibraryBatch, jobs: list[Running]) -> None:
    """Run jobs at once."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(lambda running: run(batch, running), jobs))


def test_each_job_is_sampled_by_its_own_rules(expected: list[int], batch: LibraryBatch) -> None:
    """Greedy beside seeded beside log-probabilities; the greedy one is what generate gives."""
    greedy = Running((1, 2, 3))
    seeded = Running((4, 5), temperature=1.5, seed=3, max_tokens=9)
    reported = Running((1, 2, 3), logprobs=1, max_tokens=2)
    run_all(batch, [greedy, seeded, reported])
    assert greedy.ids == expected
    assert (len(seeded.ids), len(reported.ids)) == (9, 2)
    assert all(event.logprobs for event in reported.events if isinstance(event, Tokens))
    again = Running((4, 5), temperature=1.5, seed=3, max_tokens=9)
    run(batch, again)
    assert again.ids == seeded.ids


def test_more_jobs_than_fit_wait_for_their_turn(batch: LibraryBatch) -> None:
    """Places are free again as soon as a job has ended, also under the key of an earlier job."""
    jobs = [Running((number, number + 1)) for number in range(1, 8)]
    run_all(batch, jobs)
    assert all(job.events[-1] == Finished(reason="length", prompt_tokens=2, output_tokens=6) for job in jobs)


def test_a_cancel_takes_effect_within_a_token(batch: LibraryBatch) -> None:
    """The others go on."""
    cancelled, other = Running((1, 2), max_tokens=200, cancel_at=3), Running((3, 4), max_tokens=12)
    run_all(batch, [cancelled, other])
    assert cancelled.events[-1] == Finished(reason="cancelled", prompt_tokens=2, output_tokens=3)
    assert len(other.ids) == 12


def test_closing_fails_the_jobs_that_run(model: LlamaForCausalLM) -> None:
    """None waits for ever, and none is accepted any more."""
    batch = LibraryBatch(model, jobs=1, job_tokens=256)
    running = Running((1, 2), max_tokens=250)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(run, batch, running)
        while not running.ids:
            assert not job.done()
        batch.close()
        with pytest.raises(BackendFailed, match="transformers failed"):
            job.result()
    with pytest.raises(BackendFailed):
        run(batch, Running((1, 2)))


def test_the_end_of_its_thread_fails_the_jobs(model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the library in a pass ends its thread: no job waits for ever, and none is accepted any more."""
    broken = LibraryBatch(model, jobs=1, job_tokens=256)
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("secret")

        patch.setattr(model, "forward", fail)
        with pytest.raises(BackendFailed, match="transformers failed with") as caught:
            run(broken, Running((1, 2)))
    assert "secret" not in str(caught.value)
    with pytest.raises(BackendFailed):
        run(broken, Running((1, 2)))
