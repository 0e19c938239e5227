"""The parent's end of ``bare_llamacpp_child``."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass

from gpunode_benchmarks.bare_child import BareChild, bare_child

_CHILD_MODULE = "gpunode_benchmarks.bare_llamacpp_child"


@dataclass(frozen=True, slots=True, kw_only=True)
class BareLoad:
    """What the child loads. model_path: GGUF file. slots: jobs at once. context_tokens: of one job. threads: CPU's."""

    model_path: str
    slots: int
    context_tokens: int
    threads: int


class BareLlamaCpp:
    """A loaded model in a child process."""

    def __init__(self, child: BareChild) -> None:
        self._child = child

    async def run(self, prompts: Sequence[Sequence[int]], output_tokens: int) -> float:
        """Complete all prompts (token ids) at once with exactly so many tokens each; return seconds.

        Raises:
            BenchmarkFailed: the child ended or did not answer.
        """
        order = {"prompts": [list(prompt) for prompt in prompts], "output_tokens": output_tokens}
        return await self._child.run(order)


@contextlib.asynccontextmanager
async def bare_llamacpp(load: BareLoad) -> AsyncIterator[BareLlamaCpp]:
    """Start a child with the model loaded, and end it with the context. Raises BenchmarkFailed."""
    async with bare_child(_CHILD_MODULE, asdict(load)) as child:
        yield BareLlamaCpp(child)
