"""Engine failures, each with its cause and the wire code that the node answers with.

::

    EngineError
    ├── EngineUnavailable        no job can start now; another node can take it
    │   ├── EngineNotReady       not started, or restarting after a failure
    │   └── EngineOverloaded     every slot is taken
    ├── EngineLost               the child process is gone, and the jobs in flight with it
    │   ├── EngineStartFailed    it could not be started or could not load the model
    │   ├── EngineCrashed        it ended by itself
    │   ├── EngineHung           it stopped answering and was killed
    │   ├── MemoryLimit          it went beyond its memory limit and was killed
    │   ├── ScratchLimit         it filled its scratch folder and was killed
    │   └── EngineStopped        it was stopped on purpose
    ├── JobRefused               the request cannot be served as it is
    │   ├── InvalidParameters
    │   ├── ContextOverflow      prompt and max_tokens exceed the context
    │   └── ResumeRefused        the ids or the text offset of a resumed job do not fit
    ├── JobFailed                the job ended without a result
    │   ├── TimeLimit
    │   ├── OutputLimit
    │   └── BackendFailed        the inference library reported an error
    │       ├── SchemaNotHeld    its answer does not follow json_schema; another engine may hold a model to it
    │       └── OutOfMemory      it had not enough memory for the job
    └── ModelError               weights that are unknown, absent, damaged or unreadable
        ├── ModelNotFound
        ├── ModelNotPulled
        ├── DownloadFailed
        ├── DigestMismatch
        ├── UnreadableWeights
        ├── NotEnoughMemory
        ├── NotEnoughDisk
        └── ModelsFileUnusable   the user's own models.toml
"""

from collections.abc import Iterator
from typing import ClassVar, Self

from gpunode_protocol.errors import ErrorCode, GpunodeError


class EngineError(GpunodeError):
    """The engine failed."""

    code: ClassVar[ErrorCode] = ErrorCode.ENGINE_FAILED


class EngineUnavailable(EngineError):
    """The engine cannot take a job now; try again in a moment, or another node."""

    code = ErrorCode.BUSY


class EngineNotReady(EngineUnavailable):
    """The engine is not ready: it was not started, or it is being restarted. Try again in a moment."""


class EngineOverloaded(EngineUnavailable):
    """Every slot of the engine is taken; wait until a job has ended."""


class EngineLost(EngineError):
    """The engine's process is gone and the jobs that ran in it are lost; they can be sent again."""

    blamed: str = ""  #: key of the job that is known to have brought it about, empty = nobody knows

    def copy(self) -> Self:
        """Return the same for another job: an error object that is raised twice mixes up its tracebacks."""
        error = type(self)(*self.args)
        error.blamed = self.blamed
        return error


class EngineStartFailed(EngineLost):
    """The engine could not be started. Check the model file and the free memory."""


class EngineCrashed(EngineLost):
    """The engine's process ended unexpectedly; the job can be sent again."""


class EngineHung(EngineLost):
    """The engine stopped answering and was restarted; the job can be sent again."""


class MemoryLimit(EngineLost):
    """The engine used more memory than it is allowed and was restarted; lower slots or context, or raise the limit."""


class ScratchLimit(EngineLost):
    """The engine wrote more to its scratch folder than it is allowed and was restarted; the job can be sent again."""


class EngineStopped(EngineLost):
    """The engine was stopped while the job ran; the job can be sent again."""


class JobRefused(EngineError):
    """The engine cannot serve this request as it is."""

    code = ErrorCode.INVALID_PARAMETERS


class InvalidParameters(JobRefused):
    """A parameter of the request is outside its range."""


class ContextOverflow(JobRefused):
    """The prompt and max_tokens together exceed the model's context; shorten the prompt or lower max_tokens."""

    code = ErrorCode.CONTEXT_OVERFLOW


class ResumeRefused(JobRefused):
    """The job cannot be resumed from these token ids and this text offset; start it again without them."""

    code = ErrorCode.RESUME_REFUSED


class JobFailed(EngineError):
    """The job ended without a result."""


class TimeLimit(JobFailed):
    """The job took longer than this node allows; lower max_tokens."""

    code = ErrorCode.TIME_LIMIT


class OutputLimit(JobFailed):
    """The job produced more output than this node allows; lower max_tokens."""

    code = ErrorCode.OUTPUT_LIMIT


class BackendFailed(JobFailed):
    """The inference library reported an error; the job can be sent to another node."""


class SchemaNotHeld(BackendFailed):
    """The answer does not follow json_schema; use plain types, enum, properties, required and items."""

    code = ErrorCode.INVALID_PARAMETERS


class OutOfMemory(BackendFailed):
    """The memory of the machine or its card did not suffice for the job; ask for less, or send it to another node."""


class ModelError(EngineError):
    """The model cannot be used."""

    code = ErrorCode.UNKNOWN_MODEL


class ModelNotFound(ModelError):
    """No such model in the catalogue. `gpunode models list` shows what there is."""


class ModelNotPulled(ModelError):
    """The model's files are not here yet. Fetch them with `gpunode models pull MODEL`."""


class DownloadFailed(ModelError):
    """The model could not be downloaded. Check the network connection and try again."""


class DigestMismatch(ModelError):
    """A model file differs from the digest recorded at its first pull. Delete the file and pull the model again."""


class UnreadableWeights(ModelError):
    """The model file cannot be read. Delete it and pull the model again."""


class NotEnoughMemory(ModelError):
    """The model does not fit in the memory that is free. Serve a smaller one."""


class NotEnoughDisk(ModelError):
    """The model does not fit on the disk. Remove others, or keep models on another disk."""


class ModelsFileUnusable(ModelError):
    """The file of your own models cannot be used. Correct it, or unset GPUNODE_MODELS_FILE."""


def _tree(root: type[EngineError]) -> Iterator[type[EngineError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def engine_error_named(name: str, message: str) -> EngineError:
    """Return the error that a child process reported by class name; an unknown name gives ``BackendFailed``."""
    for error_type in _tree(EngineError):
        if error_type.__name__ == name:
            return error_type(message)
    return BackendFailed(message)
