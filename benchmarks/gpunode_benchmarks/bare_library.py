"""The parent's end of ``bare_llamacpp_child`` and ``bare_transformers_child``."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from gpunode_benchmarks.bare_child import BareChild, bare_child


@dataclass(frozen=True, slots=True, kw_only=True)
class BareLoad:
    """What the child loads.

    library: ``llamacpp`` or ``transformers``. model_path: GGUF file, or folder of a checkpoint. slots: jobs at once.
    context_tokens: of one job. threads: CPU's.
    """

    library: Literal["llamacpp", "transformers"]
    model_path: str
    slots: int
    context_tokens: int
    threads: int


class BareLibrary:
    """A loaded model in a child process."""

    def __init__(self, child: BareChild) -> None:
        self._child = child

    async def run(self, prompts: Sequence[Sequence[int]], output_tokens: int) -> float:
        """Complete all prompts (token ids) at once with exactly so many tokens each; return seconds.

        Raises:
            BenchmarkFailed: the child ended or did not answer.
        """
        return await self._child.run({"prompts": [list(prompt) for prompt in prompts], "output_tokens": output_tokens})


@contextlib.asynccontextmanager
async def bare_library(load: BareLoad) -> AsyncIterator[BareLibrary]:
    """Start a child with the model loaded, and end it with the context. Raises BenchmarkFailed."""
    async with bare_child(f"gpunode_benchmarks.bare_{load.library}_child", asdict(load)) as child:
        yield BareLibrary(child)
