"""Which sizes and steps an image model can do."""

import pytest
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.image_sizes import ImageLimits
from hypothesis import given
from hypothesis import strategies as st

SD = ImageLimits(multiple=8, trained_side=512, max_steps=1000)
FLUX = ImageLimits(multiple=16, trained_side=1024, max_steps=1000, rounds_steps_up=True)


@pytest.mark.parametrize(
    ("limits", "width", "height"), [(SD, 512, 512), (SD, 128, 1024), (SD, 1024, 1024), (FLUX, 1344, 768)]
)
def test_sizes_that_can_be_drawn(limits: ImageLimits, width: int, height: int) -> None:
    """Shapes need not be square."""
    limits.check_size(width, height)


@pytest.mark.parametrize(
    ("limits", "size", "said"),
    [
        (SD, (500, 512), "multiples of 8, not 500x512; take 496x512"),
        (FLUX, (1000, 1024), "multiples of 16, not 1000x1024; take 992x1024"),
        (SD, (120, 512), "at least 128 pixels"),
        (SD, (8192, 8192), "at most 1,048,576, as 1024x1024 does"),
        (SD, (0, 0), "cannot draw 0x0"),
    ],
)
def test_others_are_refused_with_what_would_do(limits: ImageLimits, size: tuple[int, int], said: str) -> None:
    """The message names the limit."""
    with pytest.raises(InvalidParameters, match=said):
        limits.check_size(*size)


def test_a_tiny_model_still_has_a_smallest_side() -> None:
    """At least one multiple."""
    tiny = ImageLimits(multiple=8, trained_side=16, max_steps=1000)
    assert (tiny.min_side, tiny.max_pixels) == (8, 1024)


@given(steps=st.integers(1, 60), strength=st.floats(0.1, 1.0), up=st.booleans())
def test_exactly_as_many_steps_run_as_were_asked_for(steps: int, strength: float, up: bool) -> None:
    """Whatever the strength: by the arithmetic of diffusers' own pipelines, written out here once more."""
    limits = ImageLimits(multiple=8, trained_side=512, max_steps=1000, rounds_steps_up=up)
    scheduled = limits.scheduled_steps(steps, strength)
    part = min(scheduled * strength, scheduled)
    first = int(max(scheduled - part, 0)) if up else max(scheduled - min(int(scheduled * strength), scheduled), 0)
    assert scheduled - first == steps


@pytest.mark.parametrize(
    ("steps", "strength", "said"),
    [
        (20, 0.0, "strength is 0"),
        (200, 0.1, "this model has at most 1000"),
        (1001, 1.0, "steps is 1001; this model has at most 1000"),
    ],
)
def test_steps_that_no_schedule_has(steps: int, strength: float, said: str) -> None:
    """Too weak, or too long."""
    with pytest.raises(InvalidParameters, match=said):
        SD.scheduled_steps(steps, strength)
