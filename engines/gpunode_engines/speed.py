"""Measuring one engine with jobs of fixed sizes."""

import asyncio
import contextlib
from typing import Final, NamedTuple

from gpunode_engines.base import ChatMessage, Engine, GenerateRequest, MeasuredSpeed, PrepareRequest, Tokens
from gpunode_engines.errors import BackendFailed


class JobSize(NamedTuple):
    """Tokens of a prompt and of its answer, whose first token ends the prefill; the others give the decoding speed."""

    prompt_tokens: int
    output_tokens: int


WARM_UP: Final = JobSize(8, 2)
"""The first job pays for what later ones find ready: memory pages of the weights, compiled kernels."""
SHORT: Final = JobSize(64, 17)
LONG: Final = JobSize(256, 33)
"""Where the short one is over too soon: so long that a step's fixed cost does not count."""
LONG_ENOUGH_S: Final = 0.25
"""A prompt that took so long to read says enough; a node on a slow processor need not wait for a longer one."""

_TICK_S: Final = 1e-6
"""A clock may show the same instant twice: of a virtual machine that moves between processors, for a while."""
_MOST_TIMES_PREFILL: Final = 4
"""A prompt's tokens are read together, so that decoding is not faster. Where it seems to be, this process was kept from
running, and then got what had come meanwhile in one go; but what it was kept from may have been the first token."""

_TEXT: Final = "The quick brown fox jumps over the lazy dog while seven wizards brew strong tea."
_JOB_KEY = "speed-measurement"


class _Timing(NamedTuple):
    """ttft_s: until the first token. arrivals: monotonic seconds and number of tokens of each event."""

    prompt_tokens: int
    ttft_s: float
    arrivals: tuple[tuple[float, int], ...]


async def measure_speed(engine: Engine) -> MeasuredSpeed:
    """Run some greedy jobs on an idle engine and return its speed.

    Raises:
        EngineError: as ``Engine.generate``. BackendFailed: it gave too few tokens.
    """
    await _time(engine, WARM_UP)
    timing = await _time(engine, SHORT)
    if timing.ttft_s < LONG_ENOUGH_S:
        timing = await _time(engine, LONG)
    arrivals = timing.arrivals
    if len(arrivals) < 2:
        raise BackendFailed("The engine gave too few tokens to measure its speed; try again.")
    prefill_tokens_per_s = timing.prompt_tokens / max(_TICK_S, timing.ttft_s)
    decoding_s = max(_TICK_S, arrivals[-1][0] - arrivals[0][0])
    return MeasuredSpeed(
        prefill_tokens_per_s=prefill_tokens_per_s,
        decode_tokens_per_s=min(
            sum(count for _, count in arrivals[1:]) / decoding_s, _MOST_TIMES_PREFILL * prefill_tokens_per_s
        ),
        ttft_s=timing.ttft_s,
        prompt_tokens=timing.prompt_tokens,
        output_tokens=sum(count for _, count in arrivals),
    )


async def _time(engine: Engine, size: JobSize) -> _Timing:
    prompt_ids, conversation = await _prompt(engine, size.prompt_tokens)
    clock = asyncio.get_running_loop().time
    request = GenerateRequest(
        job_key=_JOB_KEY,
        prompt_ids=prompt_ids,
        max_tokens=min(size.output_tokens, engine.info.context_tokens - len(prompt_ids)),
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
    if not arrivals:
        raise BackendFailed("The engine gave no token to measure its speed by; try again.")
    return _Timing(len(prompt_ids), arrivals[0][0] - started_at, tuple(arrivals))


async def _prompt(engine: Engine, tokens: int) -> tuple[tuple[int, ...], PrepareRequest]:
    """Return about so many prompt ids, or half the context if that is less, and the conversation that they end.

    Where the conversation is needed, it is all of it. Prompts of different sizes begin differently, so that none finds
    another one in a prompt cache.
    """
    size = min(tokens, engine.info.context_tokens // 2)
    # Every word of the text is at least one token, so this is never too short.
    text = _TEXT.split()
    first = tokens % len(text)
    words = (text[first:] + text[:first]) * (1 + size // len(text))
    if engine.info.needs_conversation:
        words = words[:size]
    conversation = PrepareRequest(messages=(ChatMessage(role="user", content=" ".join(words)),))
    prompt = await engine.prepare(conversation)
    return prompt.token_ids if engine.info.needs_conversation else prompt.token_ids[-size:], conversation
