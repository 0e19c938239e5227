"""Why there is no job for a worker."""

from gpunode_tracker.workers.reasons import Reason, obstacle, reasons_for, serves

from tests.tracker.workers.examples import stored_worker

QUEUED = {
    "llm/*/*": 1,
    "llm/europe/*": 2,
    "llm/asia/*": 3,
    "llm/*/large": 4,
    "image_gen/*/*": 5,
    "image_gen/asia/large": 6,
}


def test_each_job_has_one_reason() -> None:
    """What is missing first: type, region, model."""
    worker = stored_worker(models=("small",))
    assert reasons_for(worker, QUEUED) == {
        "type_not_supported": 11,
        "other_region": 3,
        "model_not_served": 4,
        "taken_by_others": 3,
    }


def test_jobs_that_failed_here() -> None:
    """They are not counted as taken by others."""
    worker = stored_worker()
    assert reasons_for(worker, {"llm/*/*": 3}, failed_here=1) == {"failed_here_before": 1, "taken_by_others": 2}
    assert reasons_for(worker, {}, failed_here=1) == {"failed_here_before": 1}


def test_maintenance_and_too_many_jobs() -> None:
    """What the worker could do is counted as kept back by that."""
    worker = stored_worker()
    for blocked in (Reason.MAINTENANCE, Reason.HOLDS_ENOUGH):
        assert reasons_for(worker, {"llm/*/*": 3, "whisper/*/*": 1}, blocked=blocked) == {
            "type_not_supported": 1,
            str(blocked): 3,
        }


def test_an_empty_queue_needs_no_reason() -> None:
    """There is just nothing to do."""
    assert reasons_for(stored_worker(), {}) == {}


def test_what_a_worker_serves() -> None:
    """A worker without a list of models takes whatever comes of its types; jobs without a model are for everybody."""
    anything, listed = stored_worker(), stored_worker(models=("m",))
    assert serves(anything, "llm/*/whatever")
    assert serves(listed, "llm/europe/m")
    assert serves(listed, "llm/*/*")
    assert not serves(listed, "llm/*/n")
    assert obstacle(listed, "llm", "asia", "m") is Reason.OTHER_REGION


def test_other_names_of_a_served_model() -> None:
    """Those of the catalogue, in any letters; not whatever begins like it."""
    listed = stored_worker(models=("qwen2.5-7b-instruct",))
    assert serves(listed, "llm/*/qwen2.5-7b")
    assert serves(listed, "llm/*/Qwen2.5-7B-Instruct")
    assert not serves(listed, "llm/*/qwen2.5")
    assert not serves(listed, "llm/*/qwen2.5-7b-instruct-1m")
