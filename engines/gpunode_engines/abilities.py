"""What a text engine can do beyond plain text; each backend reports its own when it has loaded."""

from typing import Final, Literal

Ability = Literal["logprobs", "json_schema", "tools", "tool_choice"]
"""logprobs: of every token. json_schema: answers held to a schema. tools: calls of the caller's functions.
tool_choice: a call can be forced."""

ALL_ABILITIES: Final[tuple[Ability, ...]] = ("logprobs", "json_schema", "tools", "tool_choice")
