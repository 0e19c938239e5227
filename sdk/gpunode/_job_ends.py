"""The errors with which a job ends that nobody finished."""

from gpunode._answer import Answer
from gpunode._failed_attempts import FailedAttempts
from gpunode.errors import AnswerInterrupted, ClientError, NoNodeFound, RequestRefused
from gpunode.types import Route


def interrupted(answer: Answer, route: Route, reason: str) -> AnswerInterrupted:
    """Return the error for an answer that has begun. reason: whole sentences."""
    return AnswerInterrupted(
        f"The answer broke off after {answer.so_far()}: {reason} Nobody could be found who finishes it. What "
        f"came until then is in the exception ({'.blobs' if answer.blobs else '.text'}) and is paid for. Ask "
        "again for a whole answer.",
        text=answer.text,
        ids=tuple(answer.ids),
        blobs=tuple(answer.blobs),
        route=route,
        job=answer.job.id,
    )


def unanswered(failed: FailedAttempts, limit: str, *, others_left: bool, searches: int) -> ClientError:
    """Return the error for a job of which nothing came.

    Args:
        failed: who was asked.
        limit: why nobody may be asked any more, empty if somebody may.
        others_left: whether there are nodes that were not asked.
        searches: how often the network was searched again.
    """
    refusal = failed.last_refusal
    if refusal is not None and not limit:  # nobody contradicts it
        choice, error = refusal
        if not (error.retryable and others_left):
            return RequestRefused(str(error), code=error.code, node=choice.node)
    further = f", also after {searches} more search{'es' if searches > 1 else ''} of the network" if searches else ""
    return NoNodeFound(
        f"{limit or f'None of the nodes that were tried answered{further}.'} Try again shortly; 'gpunode nodes' shows "
        "who is there.",
        attempts=failed.attempts,
        is_only_load=failed.is_only_load,
    )
