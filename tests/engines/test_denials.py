"""What is counted, and what of it the log gets."""

import logging

import pytest
from gpunode_engines.denials import Denials


def test_the_log_gets_less_and_less(caplog: pytest.LogCaptureFixture) -> None:
    """The first, the 10th, the 100th: a hostile child cannot fill the disk."""
    denials = Denials("smollm2")
    with caplog.at_level(logging.WARNING):
        for _ in range(250):
            denials.record("socket")
        denials.record("execve")
    told = [(record.__dict__["act"], record.__dict__["count"]) for record in caplog.records]
    assert told == [("socket", 1), ("socket", 10), ("socket", 100), ("execve", 1)]
    assert "smollm2" in caplog.text
    assert denials.total == 251
