"""What an image model can draw: sizes and steps. Pure; the backend fills it in from the loaded pipeline."""

import math
from dataclasses import dataclass

from gpunode_engines.errors import InvalidParameters

MAX_AREA_FACTOR = 4
"""Pictures may have this many times the pixels that the model was trained for; larger ones repeat their content."""

MIN_SIDE_DIVISOR = 4
"""And a side may be this part of the trained one; smaller pictures show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """multiple: both sides are multiples of it. trained_side: pixels. max_steps: of the longest schedule, >= 1.

    rounds_steps_up: how the pipeline rounds the part of the schedule that it runs for an input image: up for
    flow-matching models (SD 3, FLUX), down for the others.
    """

    multiple: int
    trained_side: int
    max_steps: int
    rounds_steps_up: bool = False

    @property
    def min_side(self) -> int:
        """Return the shortest side, pixels."""
        return -(-max(self.trained_side // MIN_SIDE_DIVISOR, 1) // self.multiple) * self.multiple

    @property
    def max_pixels(self) -> int:
        """Return the most pixels of one picture."""
        return MAX_AREA_FACTOR * self.trained_side * self.trained_side

    def check_size(self, width: int, height: int) -> None:
        """Refuse a size that the model cannot draw, and say which one it could.

        Raises:
            InvalidParameters: see above.
        """
        if min(width, height) >= self.min_side and width * height <= self.max_pixels:
            if width % self.multiple == 0 and height % self.multiple == 0:
                return
            near_width, near_height = (self.multiple * max(1, side // self.multiple) for side in (width, height))
            raise InvalidParameters(
                f"This model draws sizes that are multiples of {self.multiple}, not {width}x{height}; take "
                f"{near_width}x{near_height}."
            )
        raise InvalidParameters(
            f"This model cannot draw {width}x{height}: each side has at least {self.min_side} pixels, and the picture "
            f"at most {self.max_pixels:,}, as {math.isqrt(self.max_pixels)}x{math.isqrt(self.max_pixels)} does."
        )

    def scheduled_steps(self, steps: int, strength: float) -> int:
        """Return the length of the schedule of which ``strength`` makes exactly ``steps`` steps.

        The pipeline runs only the last part of its schedule on an input image; what was asked and is paid for are
        steps that are run.

        Raises:
            InvalidParameters: strength 0, or the schedule would be longer than the model's.
        """
        if not strength > 0:
            raise InvalidParameters("strength is 0: nothing would be drawn. Take a value above 0, up to 1.")
        scheduled = max(steps, math.floor(steps / strength) - 1)
        while self._run_steps(scheduled, strength) < steps:
            scheduled += 1
        if scheduled > self.max_steps:
            if strength == 1:
                raise InvalidParameters(f"steps is {steps}; this model has at most {self.max_steps}.")
            raise InvalidParameters(
                f"{steps} steps at strength {strength:g} need a schedule of {scheduled} steps; this model has at most "
                f"{self.max_steps}. Take fewer steps or a higher strength."
            )
        return scheduled

    def _run_steps(self, scheduled: int, strength: float) -> int:
        """Return how many steps diffusers runs: the arithmetic of its pipelines' ``get_timesteps``."""
        if self.rounds_steps_up:
            return scheduled - int(max(scheduled - min(scheduled * strength, scheduled), 0))
        return min(int(scheduled * strength), scheduled)
