"""Prices and what a job's usage costs, in micro-credits (1 credit = 1,000,000)."""

from pydantic import Field

from gpunode_protocol.payloads import Usage
from gpunode_protocol.signing import WireModel
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import Count

MICROCREDITS_PER_CREDIT = 1_000_000


class Price(WireModel):
    """Micro-credits per unit.

    Units: llm input and output tokens; embedding input tokens; image_gen 1,024 pixel-steps of output;
    whisper 1 ms of audio as output.
    """

    input_microcredits: Count
    output_microcredits: Count


class PriceTable(WireModel):
    """The network's published prices: one a task, refined by model name."""

    version: Count
    tasks: dict[str, Price]
    models: dict[str, Price] = Field(default_factory=dict)

    def price_of(self, task: Task, model: str) -> Price:
        """Return the price of a model's work.

        Raises:
            KeyError: the table has no price for this task.
        """
        return self.models.get(model) or self.tasks[task]

    def cost_microcredits(self, task: Task, model: str, *, input_units: int, output_units: int) -> int:
        """Return the cost of a number of input and output units, in micro-credits."""
        price = self.price_of(task, model)
        return input_units * price.input_microcredits + output_units * price.output_microcredits


DEFAULT_PRICES = PriceTable(
    version=1,
    tasks={
        Task.LLM: Price(input_microcredits=10, output_microcredits=30),
        Task.EMBEDDING: Price(input_microcredits=2, output_microcredits=0),
        Task.IMAGE_GEN: Price(input_microcredits=0, output_microcredits=10),
        Task.WHISPER: Price(input_microcredits=0, output_microcredits=1),
    },
)
"""What a new tracker charges until its operator says otherwise: a policy, not a measurement."""


def input_units(task: Task, usage: Usage) -> int:
    """Return the units of input that a usage bills (prompt tokens and resumed ids; once, by the last segment)."""
    return usage.input_tokens + usage.resumed_tokens if task in {Task.LLM, Task.EMBEDDING} else 0


def output_units(task: Task, usage: Usage) -> int:
    """Return the units of output that a usage bills; the same unit that vouchers count in."""
    match task:
        case Task.LLM:
            return usage.output_tokens
        case Task.IMAGE_GEN:
            return usage.image_units
        case Task.WHISPER:
            return usage.audio_ms
        case Task.EMBEDDING:
            return 0
