"""How fast a node serves a task, in words: adverts count each task in its own unit."""

from typing import assert_never

from gpunode_protocol.payloads import IMAGE_UNIT_PIXEL_STEPS
from gpunode_protocol.tasks import Task

_COMMON_PIXELS = 512 * 512
"""Pictures of this size make image models of all sizes comparable."""
_AUDIO_MS_PER_S = 1_000


def speed_in_words(task: Task, *, input_per_s: float, output_per_s: float) -> str:
    """Return the rate that costs time in this task; of one stream.

    Args:
        task: decides what is counted.
        input_per_s, output_per_s: in the task's unit (see ``prices``): tokens, image units, milliseconds of audio.
    """
    match task:
        case Task.LLM:
            return f"{_rounded(output_per_s)} tokens/s"
        case Task.EMBEDDING:
            return f"texts: {_rounded(input_per_s)} tokens/s"
        case Task.IMAGE_GEN:
            return f"{_rounded(output_per_s * IMAGE_UNIT_PIXEL_STEPS / _COMMON_PIXELS)} steps/s of 512 x 512"
        case Task.WHISPER:
            return f"{_rounded(output_per_s / _AUDIO_MS_PER_S)} x real time"
        case _:
            assert_never(task)


def _rounded(rate: float) -> str:
    """Return two digits of small numbers, and all digits before the point of large ones."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
