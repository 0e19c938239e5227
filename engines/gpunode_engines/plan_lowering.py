"""The plan of one model, with less of everything each time that memory runs out."""

import logging
from collections.abc import Callable

from gpunode_engines.errors import EngineError, EngineNotReady
from gpunode_engines.memory_plan import described, lowered
from gpunode_engines.out_of_memory import is_out_of_memory
from gpunode_engines.supervisor import EnginePlan

logger = logging.getLogger(__name__)


class LoweringPlan:
    """Keeps a plan and lowers it.

    Args:
        plan: to begin with.
        memory_kills: see ``kernel_memory_kills``.
    """

    def __init__(self, plan: EnginePlan, memory_kills: Callable[[], int | None]) -> None:
        self.plan = plan
        self._memory_kills = memory_kills
        self._kills_at_load: int | None = None

    def load_begins(self) -> None:
        """Note what the kernel has ended so far: that was not this engine."""
        self._kills_at_load = self._memory_kills()

    def is_to_blame(self, error: EngineError) -> bool:
        """Whether an engine of this plan failed because memory ran out, or is away because it did before."""
        if isinstance(error, EngineNotReady) and isinstance(error.__cause__, EngineError):
            error = error.__cause__
        return is_out_of_memory(error, self._kills_at_load, self._memory_kills())

    def lower(self, saving: int) -> str:
        """Lower the plan, if anything is left to lower; return what is done, for the user.

        Args:
            saving: what the engine that failed had saved already, see ``EngineInfo.saving``.
        """
        plan = lowered(self.plan, saving)
        if plan is None:
            return "Nothing is left to lower: serve fewer models, or a smaller one."
        self.plan = plan
        told = f"From now on it takes {described(plan)}."
        logger.warning(
            "%s ran out of memory. %s", plan.model, told, extra={"event": "plan_lowered", "model": plan.model}
        )
        return told
