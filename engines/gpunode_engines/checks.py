"""Range checks of a request, the same for every text engine, before any work is done."""

import math

from gpunode_engines.base import GenerateRequest
from gpunode_engines.errors import ContextOverflow, InvalidParameters, ResumeRefused

MAX_STOP_TEXTS = 16
MAX_STOP_CHARACTERS = 256
MAX_TOP_LOGPROBS = 20
MAX_SEED = 2**32 - 1
MAX_TOP_K = 1_000_000
MAX_TEMPERATURE = 2.0
MAX_REPETITION_PENALTY = 10.0
MAX_PENALTY = 2.0


def check_generate(request: GenerateRequest, context_tokens: int) -> None:
    """Refuse a request that the engine could not serve whole.

    Raises:
        InvalidParameters: a parameter outside its range. ContextOverflow: more tokens than the context holds.
        ResumeRefused: a text offset without ids.
    """
    _check_sampling(request)
    _check_shape(request)
    wanted = len(request.prompt_ids) + len(request.resume_ids) + request.max_tokens
    if wanted > context_tokens:
        raise ContextOverflow(
            f"The prompt has {len(request.prompt_ids) + len(request.resume_ids)} tokens and max_tokens is "
            f"{request.max_tokens}; together at most {context_tokens} fit. Shorten the prompt or lower max_tokens."
        )


def _check_shape(request: GenerateRequest) -> None:
    if not request.prompt_ids:
        raise InvalidParameters("The prompt is empty; send at least one message.")
    if request.max_tokens < 1:
        raise InvalidParameters(f"max_tokens is {request.max_tokens}; it must be at least 1.")
    if request.text_offset < 0 or (request.text_offset and not request.resume_ids):
        raise ResumeRefused(f"The text offset {request.text_offset} needs token ids to resume from.")
    if len(request.stop) > MAX_STOP_TEXTS or any(not 1 <= len(text) <= MAX_STOP_CHARACTERS for text in request.stop):
        raise InvalidParameters(
            f"stop takes at most {MAX_STOP_TEXTS} texts of 1 to {MAX_STOP_CHARACTERS} characters each."
        )
    if request.deadline_s is not None and not request.deadline_s > 0:
        raise InvalidParameters(f"The deadline of {request.deadline_s} s is over already.")


def _check_sampling(request: GenerateRequest) -> None:
    """Check each number against the closed interval that the protocol allows."""
    ranges: tuple[tuple[str, float, float, float], ...] = (
        ("temperature", request.temperature, 0.0, MAX_TEMPERATURE),
        ("top_p", request.top_p, 1e-6, 1.0),
        ("top_k", request.top_k, 0, MAX_TOP_K),
        ("min_p", request.min_p, 0.0, 1.0),
        ("repetition_penalty", request.repetition_penalty, 1e-6, MAX_REPETITION_PENALTY),
        ("presence_penalty", request.presence_penalty, -MAX_PENALTY, MAX_PENALTY),
        ("frequency_penalty", request.frequency_penalty, -MAX_PENALTY, MAX_PENALTY),
        ("seed", request.seed or 0, 0, MAX_SEED),
        ("logprobs", request.logprobs or 0, 0, MAX_TOP_LOGPROBS),
    )
    for name, value, low, high in ranges:
        if not math.isfinite(value) or not low <= value <= high:
            raise InvalidParameters(f"{name} is {value}; it must lie between {low:g} and {high:g}.")
