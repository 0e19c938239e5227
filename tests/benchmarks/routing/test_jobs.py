from random import Random

from gpunode_benchmarks.routing.jobs import OUTPUT_TOKENS, PAUSE_MS, PROMPT_TOKENS, draw_crowd, draw_jobs, share


def test_jobs_are_of_all_sizes() -> None:
    """Between the shortest and the longest, and the same ones for the same seed."""
    jobs = draw_jobs(200, Random(1))
    assert jobs == draw_jobs(200, Random(1))
    for (least, most), drawn in (
        (PROMPT_TOKENS, [job.prompt_tokens for job in jobs]),
        (OUTPUT_TOKENS, [job.output_tokens for job in jobs]),
        (PAUSE_MS, [job.pause_ms for job in jobs]),
    ):
        assert least <= min(drawn) < max(drawn) <= most


def test_a_crowd_does_not_pause() -> None:
    """Its jobs follow each other."""
    assert {job.pause_ms for job in draw_crowd(5, Random(1))} == {0.0}


def test_everybody_gets_a_share() -> None:
    """What does not come out even goes to the first ones."""
    assert share(8, ["a", "b", "c"]) == {"a": 3, "b": 3, "c": 2}
