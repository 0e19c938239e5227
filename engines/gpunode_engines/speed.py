"""Measuring one engine with one job of a fixed size."""

import asyncio
import contextlib

from gpunode_engines.base import ChatMessage, Engine, GenerateRequest, MeasuredSpeed, PrepareRequest, Tokens
from gpunode_engines.errors import BackendFailed

PROMPT_TOKENS = 256
"""Long enough that a prompt step's fixed cost does not count."""

OUTPUT_TOKENS = 33
"""The first token ends the prefill, the other 32 give the decoding speed."""

_TEXT = "The quick brown fox jumps over the lazy dog while seven wizards brew strong tea. "
_JOB_KEY = "speed-measurement"


async def measure_speed(engine: Engine) -> MeasuredSpeed:
    """Run one greedy job on an idle engine and return its speed.

    Raises:
        EngineError: as ``Engine.generate``.
    """
    prompt_ids, conversation = await _prompt(engine)
    clock = asyncio.get_running_loop().time
    request = GenerateRequest(
        job_key=_JOB_KEY,
        prompt_ids=prompt_ids,
        max_tokens=min(OUTPUT_TOKENS, engine.info.context_tokens - len(prompt_ids)),
        temperature=0.0,
        ignore_eos=True,
        conversation=conversation if engine.info.needs_conversation else None,
    )
    arrivals: list[tuple[float, int]] = []
    started_at = clock()
    async with contextlib.aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Tokens) and event.ids:
                arrivals.append((clock(), len(event.ids)))
    if len(arrivals) < 2:
        raise BackendFailed("The engine gave too few tokens to measure its speed; try again.")
    ttft_s = arrivals[0][0] - started_at
    return MeasuredSpeed(
        prefill_tokens_per_s=len(prompt_ids) / ttft_s,
        decode_tokens_per_s=sum(count for _, count in arrivals[1:]) / (arrivals[-1][0] - arrivals[0][0]),
        ttft_s=ttft_s,
        prompt_tokens=len(prompt_ids),
        output_tokens=sum(count for _, count in arrivals),
    )


async def _prompt(engine: Engine) -> tuple[tuple[int, ...], PrepareRequest]:
    """Return about PROMPT_TOKENS ids, or half the context if that is less, and the conversation that they begin.

    Where the conversation is needed, it is all of it.
    """
    size = min(PROMPT_TOKENS, engine.info.context_tokens // 2)
    # Every word of the text is at least one token, so this is never too short.
    text = _TEXT * (1 + size // len(_TEXT.split()))
    if engine.info.needs_conversation:
        text = " ".join(text.split()[:size])
    conversation = PrepareRequest(messages=(ChatMessage(role="user", content=text),))
    prompt = await engine.prepare(conversation)
    return prompt.token_ids if engine.info.needs_conversation else prompt.token_ids[:size], conversation
