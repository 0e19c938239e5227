"""Chat with a model on a gpunode network: first a whole answer, then one that streams.

Set GPUNODE_TRACKER and GPUNODE_API_KEY, then: python sdk/examples/llm_chat.py "Why is the sky blue?"
"""
# ruff: noqa: T201 -- an example talks to its reader

import sys

from gpunode import AnswerInterrupted, InferenceClient
from gpunode.types import Message


def main() -> None:
    """Ask, print, and say who answered."""
    prompt = " ".join(sys.argv[1:]) or "What is the capital of France?"
    messages: list[Message] = [{"role": "user", "content": prompt}]
    with InferenceClient() as client:
        answer = client.chat(messages=messages, max_tokens=200, temperature=0.2)
        print(answer.response)
        print(f"{answer.usage.completion_tokens} tokens from {answer.route.node} in {answer.route.region},")
        print(f"first token after {answer.ttft_ms:.0f} ms, receipt {answer.receipt.id}")

        messages += [{"role": "assistant", "content": answer.response}, {"role": "user", "content": "Say more."}]
        with client.chat(messages=messages, max_tokens=200, stream=True) as chunks:
            try:
                for chunk in chunks:  # leaving the block early would cancel the job
                    print(chunk.text, end="", flush=True)
                print(f"\n[{chunks.result.finish_reason}, {chunks.result.tokens_per_s:.0f} tokens/s]")
            except AnswerInterrupted as error:
                print(f"\n[broken off after {len(error.ids)} tokens: {error}]")


if __name__ == "__main__":
    main()
