"""What the tracker refuses, and why. ``problems`` maps each to a status and an RFC 9457 body.

::

    TrackerError
    ├── InvalidSettings         the operator's settings cannot be used
    ├── KeysUnusable            root or signing key missing, foreign or unreadable
    │   └── NoSigningKey        nothing can be signed now
    ├── DataFolderInUse         another tracker runs on this data folder
    ├── BackupUnusable          a backup is damaged, or does not fit here
    ├── DatabaseTooNew          a newer version wrote the database
    ├── DatabaseUnusable        the database is damaged: the tracker does not start on it
    ├── StorageUnavailable      the database cannot be read or written now
    │   └── StorageDamaged      what stands in it cannot be read
    ├── Rejected                not now: ``retry_after_s``
    │   ├── TooManyRequests     more than one client may ask for
    │   └── Overloaded          more than the tracker has room for
    ├── Unauthenticated         no valid API key or worker token
    ├── Forbidden               authenticated, but not for this
    │   ├── MissingScope        the API key is not good for this: ``scope``
    │   └── Banned              the operator shut the account, address, worker or node out
    ├── NotFound                no such account, node, receipt or path
    ├── Conflict                it contradicts what there is already
    │   └── LeaseLost           a worker has a job no more
    ├── InvalidRequest          understood, but its values cannot be used
    │   ├── KeyReused           an idempotency key that came with another body before
    │   └── TranscriptRefused   a worker's transcript proves nothing
    └── InsufficientCredits     the account cannot reserve as much
"""

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT


class TrackerError(GpunodeError):
    """The tracker cannot do this."""


class InvalidSettings(TrackerError):
    """The tracker's settings are not valid."""


class KeysUnusable(TrackerError):
    """The tracker's keys cannot be used."""


class NoSigningKey(KeysUnusable):
    """The tracker has no signing key now; its operator has to see to it. Send the request again later."""

    retry_after_s = 60  # seconds: the operator has to act, and keys are read anew every few seconds


class DatabaseTooNew(TrackerError):
    """The database was written by a newer version of gpunode."""


class DatabaseUnusable(TrackerError):
    """The tracker's database is damaged."""


class DataFolderInUse(TrackerError):
    """Another tracker runs on this data folder. Stop it, or choose another folder with --data-dir."""


class DataFolderLost(TrackerError):
    """The data folder was deleted, moved or replaced while the tracker ran, and so the tracker has ended."""


class BackupUnusable(TrackerError):
    """The backup cannot be restored. Nothing was changed."""


class StorageUnavailable(TrackerError):
    """The tracker cannot write to its database now. Nothing was changed; send the request again later."""

    def __init__(self, message: str = "", *, retry_after_s: int = 30) -> None:
        """retry_after_s: seconds, > 0, after which trying again makes sense."""
        super().__init__(*([message] if message else []))
        self.retry_after_s = retry_after_s


class StorageDamaged(StorageUnavailable):
    """The tracker's database is damaged."""


class Rejected(TrackerError):
    """The tracker does not serve this request now, to stay able to serve others."""

    def __init__(self, message: str, *, retry_after_s: float, reason: str) -> None:
        """retry_after_s: seconds, > 0, after which trying again makes sense. reason: for the counters."""
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.reason = reason


class TooManyRequests(Rejected):
    """One client asks for more than it may."""


class Overloaded(Rejected):
    """All clients together ask for more than the tracker has room for."""


class Unauthenticated(TrackerError):
    """A valid API key (Authorization: Bearer) or worker token (X-Worker-Token) is needed for this."""

    def __init__(self, message: str = "", *, ended: bool = False) -> None:
        """ended: the key is known, but has expired or was revoked."""
        super().__init__(*([message] if message else []))
        self.ended = ended


class Forbidden(TrackerError):
    """This key or token does not allow that."""


class MissingScope(Forbidden):
    """The API key is not good for this."""

    def __init__(self, scope: str) -> None:
        """scope: its name."""
        super().__init__(
            f"This needs an API key with the scope '{scope}', which this one lacks. Use another key, or have one made "
            f"with that scope (gpunode tracker create-key --scope {scope})."
        )
        self.scope = scope


class Banned(Forbidden):
    """The tracker's operator shut this account, address, worker or node out."""


class NotFound(TrackerError):
    """There is no such thing here."""


class Conflict(TrackerError):
    """What is there now does not go with the request. Look at it, and send the request anew."""


class LeaseLost(Conflict):
    """You hold this job no more."""

    def __init__(self, failure: str | None = None) -> None:
        """failure: why the attempt ended, None = it is not known or was completed."""
        why = f": {failure.rstrip('.')}" if failure else ""
        super().__init__(f"You hold this job no more{why}. Stop it, drop what came of it, and ask for the next job.")


class InvalidRequest(TrackerError):
    """The request's values cannot be used."""


class KeyReused(InvalidRequest):
    """This Idempotency-Key came with another body before, and names that job. Use a new key for a new job."""


class TranscriptRefused(InvalidRequest):
    """What the worker sent proves nothing; its attempt has failed."""


class InsufficientCredits(TrackerError):
    """The account has not enough credits."""

    def __init__(self, *, balance_microcredits: int, wanted_microcredits: int) -> None:
        """Say what there is, what was asked for, and what to do."""
        super().__init__(
            f"The account's balance is {balance_microcredits / MICROCREDITS_PER_CREDIT:.6f} credits, and "
            f"{wanted_microcredits / MICROCREDITS_PER_CREDIT:.6f} were to be reserved. Ask for a smaller cap, wait "
            "until open grants return what they do not use, or ask the operator for credits (gpunode tracker issue)."
        )
        self.balance_microcredits = balance_microcredits
        self.wanted_microcredits = wanted_microcredits
