"""Messages between the node (parent) and an engine's process (child); encoders are derived from the dataclasses.

Parent to child: Load, Prepare, Generate, Cancel, Ping, Shutdown.
Child to parent: Loaded or LoadFailed (once), Prepared, JobEvent, JobFailure, CallFailure, Denied, Pong.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.safe_msgpack import pack, unpack
from gpunode_protocol.tasks import Task
from pydantic import Discriminator, TypeAdapter, ValidationError

from gpunode_engines.abilities import Ability
from gpunode_engines.base import Event, PreparableRequest, PreparedPrompt, WorkRequest
from gpunode_engines.confinement import NOTHING, ORDINARY, Confinement, SandboxPolicy
from gpunode_engines.cuda_placement import QuantisedBits
from gpunode_engines.model_server import ModelServer

MAX_PARENT_FRAME_BYTES = 112 * 1024 * 1024
"""Cap of a frame to the child, bytes: a job's input files (at most 100 MiB, see ``BlobRef``) come with its request."""

MAX_CHILD_FRAME_BYTES = 16 * 1024 * 1024
"""Cap of a frame from the child, bytes: a prompt of 262,144 ids of 5 bytes with its text fits several times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """How a backend loads its model.

    context_tokens: per job, >= 1. slots: jobs at once, >= 1. threads: CPU threads, >= 1. use_gpu: offload all layers
    to the GPU if the backend's build supports it. chat_template: Jinja template in place of the model's own, empty =
    the model's own. card_share: of each card's memory that the process may take, (0, 1].
    server: that runs the model, None = it runs here. quantised_bits: to what weights are quantised on CUDA.
    cache_bytes: of the key-value caches of all jobs. saving: steps, of those that a backend has, by which it gives up
    speed for memory, >= 0: pictures are decoded in tiles or weights offloaded, fewer inputs computed at once.
    """

    context_tokens: int
    slots: int
    threads: int
    use_gpu: bool
    chat_template: str = ""
    card_share: float = 1.0
    server: ModelServer | None = None
    quantised_bits: QuantisedBits = 0
    cache_bytes: int = 0
    saving: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """First message: which model to load, and what holds the process back from then on.

    root: its folder. files: its files in order. Both are absolute paths. data_bytes: private memory that the process
    may ask for, 0 = as much as it likes.
    """

    type: Literal["load"] = "load"
    task: Task
    backend: str
    model: str
    root: str
    files: tuple[str, ...]
    options: BackendOptions
    sandbox: SandboxPolicy = ORDINARY
    data_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Render and tokenise, or check; answered by Prepared or CallFailure with the same ``call``."""

    type: Literal["prepare"] = "prepare"
    call: int
    request: Annotated[PreparableRequest, Discriminator("type")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Run a job; answered by JobEvents up to Finished, or by JobFailure."""

    type: Literal["generate"] = "generate"
    request: Annotated[WorkRequest, Discriminator("type")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End a job at the next token."""

    type: Literal["cancel"] = "cancel"
    job_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Answered by Pong at once, also while jobs run."""

    type: Literal["ping"] = "ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """Exit now."""

    type: Literal["shutdown"] = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The model is ready. context_tokens and slots: what the backend really provides.

    image_side: of the pictures that an image model was trained for, pixels; 0 = draws none.
    abilities: of text beyond plain text. needs_conversation: see ``EngineInfo``.
    quantisation: type of the numbers it computes with, where that is the backend's choice; empty = the file's.
    saving: see ``BackendOptions``; more than asked for where that was not enough for what is free.
    confinement: what holds this process back; set by the worker, not by backends.
    """

    type: Literal["loaded"] = "loaded"
    backend_version: str
    context_tokens: int
    slots: int
    device: str
    image_side: int = 0
    quantisation: str = ""
    saving: int = 0
    abilities: tuple[Ability, ...] = ()
    needs_conversation: bool = False
    confinement: Confinement = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFailed:
    """The model cannot be loaded; the child exits."""

    type: Literal["load_failed"] = "load_failed"
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Result of Prepare."""

    type: Literal["prepared"] = "prepared"
    call: int
    prompt: PreparedPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailure:
    """Prepare failed; ``error`` is the class name of an EngineError."""

    type: Literal["call_failure"] = "call_failure"
    call: int
    error: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One event of a job."""

    type: Literal["job_event"] = "job_event"
    job_key: str
    event: Annotated[Event, Discriminator("type")]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """A job failed; ``error`` is the class name of an EngineError."""

    type: Literal["job_failure"] = "job_failure"
    job_key: str
    error: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """A job or call ended because the sandbox refused it something. act: what, without any of the job's words."""

    type: Literal["denied"] = "denied"
    act: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Answer to Ping."""

    type: Literal["pong"] = "pong"


ParentMessage = Load | Prepare | Generate | Cancel | Ping | Shutdown
ChildMessage = Loaded | LoadFailed | Prepared | CallFailure | JobEvent | JobFailure | Denied | Pong

_PARENT: TypeAdapter[ParentMessage] = TypeAdapter(Annotated[ParentMessage, Discriminator("type")])
_CHILD: TypeAdapter[ChildMessage] = TypeAdapter(Annotated[ChildMessage, Discriminator("type")])


def encode_parent(message: ParentMessage) -> bytes:
    """Return the bytes of a message to the child."""
    return pack(_PARENT.dump_python(message))


def encode_child(message: ChildMessage) -> bytes:
    """Return the bytes of a message to the parent."""
    return pack(_CHILD.dump_python(message))


def decode_parent(data: bytes) -> ParentMessage:
    """Read a message from the parent. Raises MalformedMessage."""
    message: ParentMessage = _decode(_PARENT, data)
    return message


def decode_child(data: bytes) -> ChildMessage:
    """Read a message from the child, which is not trusted. Raises MalformedMessage."""
    message: ChildMessage = _decode(_CHILD, data)
    return message


def _decode(adapter: TypeAdapter[Any], data: bytes) -> Any:
    value = unpack(data)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise MalformedMessage(f"An engine message cannot be read: {error.error_count()} wrong fields.") from error
