from typing import Any, cast

from gpunode._part import Part


def test_nothing_has_begun_at_first() -> None:
    """Not before the first output."""
    assert Part(cast("Any", None), cast("Any", None), sent_at=1.0).begun_at is None
