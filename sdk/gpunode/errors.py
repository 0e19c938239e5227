"""Errors of the client; each message says what happened and what to do.

::

    GpunodeError (gpunode_protocol.errors)
    ├── VerificationFailed       the node's receipt contradicts what was received; reported to the tracker
    └── ClientError              everything below
        ├── InvalidRequest       the call's own arguments; nothing was sent
        ├── InvalidSettings      tracker URL, key or file that cannot be used
        ├── WrongNetwork         the tracker belongs to another network than the pinned one
        ├── ClockOff             this computer's clock is too far from the tracker's
        ├── TrackerError         the tracker answered with an error; ``status`` and ``code``
        │   ├── Unauthorized     401, 403: the API key
        │   ├── InsufficientCredits  402: the account cannot pay
        │   └── TrackerBusy      429, 5xx after retries
        ├── TrackerUnreachable   no answer from the tracker
        ├── NoNodeFound          nobody to ask, or everybody asked failed before the first output; ``reasons``
        ├── RequestRefused       nodes refused what was asked for: two alike, or the only one that there was
        ├── AnswerInterrupted    the answer broke off after its beginning; ``text``, ``ids``, ``blobs``
        ├── AnswerUnusable       the whole answer is not the JSON, or the calls, that were asked for; ``text``
        ├── ClientClosed         the client was closed
        └── BegunBeforeFork      a stream of the process from which this one was forked
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from gpunode_protocol.blobs import Blob
from gpunode_protocol.errors import ErrorCode, GpunodeError, VerificationFailed

from gpunode.types import Attempt, Route


class ClientError(GpunodeError):
    """The gpunode client failed."""


class InvalidRequest(ClientError):
    """The request is not valid; nothing was sent."""


class InvalidSettings(ClientError):
    """The client's settings cannot be used."""


class WrongNetwork(ClientError):
    """The tracker belongs to another network than the one that was pinned."""


class ClockOff(ClientError):
    """This computer's clock is wrong. Set it by NTP."""


class TrackerError(ClientError):
    """The tracker refused the request.

    Args:
        message: what happened and what to do.
        status: of HTTP.
        code: of the problem body, may be empty.
    """

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unauthorized(TrackerError):
    """The tracker does not accept the API key."""


class InsufficientCredits(TrackerError):
    """The account has too few credits."""


class TrackerBusy(TrackerError):
    """The tracker could not serve the request now.

    retry_after_s: when it wants to be asked again, in seconds; None where it does not say.
    """

    retry_after_s: float | None = None


class TrackerUnreachable(ClientError):
    """The tracker does not answer. Check its address and your connection."""


class NoNodeFound(ClientError):
    """No node could serve the request.

    Args:
        message: what was looked for, and what to do.
        attempts: nodes that were tried, in order.
        reasons: adverts and nodes that did not qualify, counted by reason.
        is_only_load: nobody failed; whoever was asked had no room, or was about to leave.
    """

    def __init__(
        self,
        message: str,
        *,
        attempts: Sequence[Attempt] = (),
        reasons: Mapping[str, int] | None = None,
        is_only_load: bool = True,
    ) -> None:
        self.attempts = tuple(attempts)
        self.reasons = dict(reasons or {})
        self.is_only_load = is_only_load
        super().__init__(message + _counted(self.attempts, self.reasons))


class RequestRefused(ClientError):
    """Nodes refused the request for a reason that holds at every node: two alike, or all that there were.

    Args:
        message: the node's.
        code: see ``gpunode_protocol.errors.ErrorCode``.
        node: peer id.
    """

    def __init__(self, message: str, *, code: ErrorCode, node: str) -> None:
        super().__init__(message)
        self.code = code
        self.node = node


class AnswerInterrupted(ClientError):
    """The answer broke off.

    Args:
        message: why.
        text, ids, blobs: what was received until then; it is paid for.
        route: the node that broke off.
        job: id of the job.
    """

    def __init__(
        self, message: str, *, text: str, ids: tuple[int, ...], route: Route, job: str, blobs: tuple[Blob, ...] = ()
    ) -> None:
        super().__init__(message)
        self.text = text
        self.ids = ids
        self.blobs = blobs
        self.route = route
        self.job = job


class AnswerUnusable(ClientError):
    """The answer is not in the form that was asked for; it is paid for. Try again, or another model.

    Args:
        message: what is wrong.
        text: the answer.
    """

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(message)
        self.text = text


class ClientClosed(ClientError):
    """This client is closed. Make a new one."""


class BegunBeforeFork(ClientError):
    """This stream belongs to the process that this one was forked from. Begin another one here."""


def _counted(attempts: Sequence[Attempt], reasons: Mapping[str, int]) -> str:
    tried = Counter(reason for _, reason in dict.fromkeys((attempt.node, attempt.reason) for attempt in attempts))
    parts = [f"{count} x {reason}" for reason, count in (*tried.items(), *sorted(reasons.items()))]
    return f" What happened: {'; '.join(parts)}" if parts else ""


__all__ = [
    "AnswerInterrupted",
    "AnswerUnusable",
    "BegunBeforeFork",
    "ClientClosed",
    "ClientError",
    "ClockOff",
    "GpunodeError",
    "InsufficientCredits",
    "InvalidRequest",
    "InvalidSettings",
    "NoNodeFound",
    "RequestRefused",
    "TrackerBusy",
    "TrackerError",
    "TrackerUnreachable",
    "Unauthorized",
    "VerificationFailed",
    "WrongNetwork",
]
