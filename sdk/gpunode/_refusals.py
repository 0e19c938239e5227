"""Requests that are not valid, in the caller's words: the names of arguments, not those of the wire's maps."""

from gpunode_protocol.errors import MalformedMessage

from gpunode.errors import InvalidRequest


def not_valid(problem: MalformedMessage | str) -> InvalidRequest:
    """Return the error to raise; of parameters that cannot be made, without the name of their class."""
    text = problem if isinstance(problem, str) else str(problem).partition(": ")[2]
    return InvalidRequest(f"The request is not valid, nothing was sent: {text}.")
