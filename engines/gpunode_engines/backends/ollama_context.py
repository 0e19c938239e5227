"""Ollama's context: it leaves out what is longer without a word, and counts what is left.

Its interface can be told neither to refuse nor to take more (https://github.com/ollama/ollama/issues/4967).
"""

from typing import Any, Final

from gpunode_engines.backends.openai_client import CHAT_PATH, OpenAiClient
from gpunode_engines.errors import BackendFailed, ContextOverflow

_PIECE_PART: Final = 1 / 2
"""Of the context, in bytes: no token has less than a byte, so a piece fits, whatever the template adds to it."""


def count_prompt(client: OpenAiClient, body: dict[str, Any]) -> int:
    """Return how many tokens a server that does not tokenise counts in a conversation.

    Raises:
        BackendFailed: it does not count.
    """
    usage = client.call("POST", CHAT_PATH, body | {"max_tokens": 1}).get("usage") or {}
    count = int(usage.get("prompt_tokens") or 0)
    if count < 1:
        raise BackendFailed("The model server does not count prompts, so its jobs cannot be paid.")
    return count


def loaded_context(client: OpenAiClient, model: str) -> int:
    """Return the context, in tokens, with which a model was loaded, which is done first; 0 where Ollama is too old."""
    count_prompt(client, {"model": model, "messages": [{"role": "user", "content": "a"}]})
    running = client.call("GET", "/api/ps").get("models") or ()
    return next((int(each.get("context_length") or 0) for each in running if each.get("model") == model), 0)


def raise_if_cut(client: OpenAiClient, body: dict[str, Any], context_tokens: int) -> None:
    """Count a long conversation piece by piece. Raises ContextOverflow: all of it does not fit."""
    texts = [str(message.get("content") or "") for message in body["messages"]]
    text = "\n".join([*texts, *(str(body[key]) for key in ("tools",) if key in body)])
    if len(text.encode()) <= context_tokens * _PIECE_PART:
        return

    def count(content: str) -> int:
        return count_prompt(client, {"model": body["model"], "messages": [{"role": "user", "content": content}]})

    frame = count("a") - 1  # of the template
    total = frame + sum(max(0, count(piece) - frame) for piece in _pieces(text, int(context_tokens * _PIECE_PART)))
    if total > context_tokens:
        raise ContextOverflow(
            f"The prompt has about {total:,} tokens; this node's server reads {context_tokens:,}. Shorten it."
        )


def _pieces(text: str, size_bytes: int) -> list[str]:
    """Cut a text, between words where there are some, into pieces of at most so many bytes."""
    pieces, start = [], 0
    while start < len(text):
        end = min(len(text), start + size_bytes)
        while len(text[start:end].encode()) > size_bytes:
            end = start + (end - start) // 2
        space = text.rfind(" ", start + 1, end)
        end = space if end < len(text) and space > start + (end - start) // 2 else end
        pieces.append(text[start:end])
        start = end
    return pieces
