"""What the client returns: answers, chunks, and where they came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.signing import Signed
from gpunode_protocol.vouchers import Voucher
from typing_extensions import TypedDict  # pydantic reads it; it wants this one before Python 3.12

Source = Literal["dht", "index", "cache"]
"""Where a node was found: in the DHT, in the tracker's signed index, or among the nodes that answered well before."""


class FunctionCall(TypedDict):
    """arguments: JSON text of an object. The model wrote it: check it before use."""

    name: str
    arguments: str


class ToolCall(TypedDict):
    """A call that the model wants, in OpenAI's shape."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class Message(TypedDict, total=False):
    """One message of a conversation: ``{"role": "user", "content": "…"}``.

    tool_calls: of an assistant's message, as in ``ChatResult``. tool_call_id: which call a tool's message answers.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None
    name: str
    tool_calls: Sequence[ToolCall]
    tool_call_id: str


class TokenLogprob(NamedTuple):
    """Natural logarithm of a token's probability, and the likeliest tokens at its place as (id, logarithm)."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of prompt and answer, as the node's verified receipt states them."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Attempt:
    """A node that was tried and did not deliver. reason: what it said or did."""

    node: str
    region: str
    reason: str


@dataclass(frozen=True, slots=True)
class RouteSegment:
    """A part of an answer, as one node gave it.

    output_units: tokens; image units of whole pictures; ms of audio. ended: ``done``, or why it broke off there.
    """

    node: str
    region: str
    output_units: int
    ended: str


@dataclass(frozen=True, slots=True)
class Route:
    """Which node answered and how it was found and reached.

    node: peer id. rtt_ms: smallest round trip of the last minutes, None when it was not probed. path: ``direct`` or
    ``relayed``. source: see ``Source``. failed: nodes that were tried before it. segments: who gave which part of the
    answer, in order; more than one where nodes failed in the middle of it.
    """

    node: str
    region: str
    rtt_ms: float | None
    path: Literal["direct", "relayed"]
    source: Source
    failed: tuple[Attempt, ...] = ()
    segments: tuple[RouteSegment, ...] = ()


@dataclass(frozen=True, slots=True)
class JobReceipt:
    """The node's signed receipt with the client's final voucher; it exists only if everything in it verified.

    id: SHA-256 of the receipt's body, 64 hex digits: its name in the ledger.
    """

    id: str
    receipt: Signed[Receipt] = field(repr=False)
    voucher: Signed[Voucher] = field(repr=False)

    @property
    def verified(self) -> bool:
        """True: signature, both digests and the usage agree with what was received."""
        return True


class Chunk(NamedTuple):
    """A piece of a streamed answer. ids: token ids; text lags behind them where a character is not whole yet."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StartTimes:
    """What passed before a job's request went out, in ms, one after the other; almost nothing in a client in use.

    joining_ms: the mesh, if the client had not joined it. looking_up_ms: who could do it. probing_ms: asking them for
    distance and load. grant_ms: for a grant, once a node was chosen. place_ms: for other jobs of this client to end, of
    which a node takes 8 at once.
    """

    joining_ms: float = 0.0
    looking_up_ms: float = 0.0
    probing_ms: float = 0.0
    grant_ms: float = 0.0
    place_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What every job brings beside its output; it exists only if everything verified.

    finish_reason: ``stop``, ``length`` or ``cancelled``. found_ms: until a node was chosen, ttft_ms: to the first
    output, duration_ms: in all; each from the call, as the caller sees it. start: where the first part of that went.
    """

    model: str
    receipt: JobReceipt
    route: Route
    finish_reason: str
    job: str
    found_ms: float
    ttft_ms: float
    duration_ms: float
    start: StartTimes = StartTimes()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResult(JobResult):
    """A whole, verified answer. ids: its token ids.

    tool_calls: functions that the model wants called; ``finish_reason`` is ``tool_calls`` then. parsed: the answer as a
    value, where a JSON schema was given and the answer is whole. logprobs: None unless asked for; a node may leave out
    tokens that complete no character.
    """

    response: str
    ids: tuple[int, ...] = field(repr=False)
    usage: Usage
    tool_calls: tuple[ToolCall, ...] = ()
    parsed: Any = None
    logprobs: tuple[TokenLogprob, ...] | None = field(default=None, repr=False)

    @property
    def tokens_per_s(self) -> float:
        """Speed after the first token; 0 for answers of fewer than two tokens.

        Of the caller's and the node's measurement the slower one: a short answer may arrive all at once.
        """
        stated = self.receipt.receipt.body
        span_s = max(self.duration_ms - self.ttft_ms, stated.duration_ms - stated.ttft_ms) / 1000
        return (len(self.ids) - 1) / span_s if len(self.ids) > 1 and span_s > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingResult(JobResult):
    """Sentence embeddings, one vector an input in the order asked for. tokens: read, as the receipt states them."""

    vectors: tuple[tuple[float, ...], ...] = field(repr=False)
    tokens: int


class ImageProgress(NamedTuple):
    """Steps done, of all pictures together. preview: a small JPEG of the picture so far."""

    step: int
    total: int
    preview: bytes | None


_IMAGE_SUFFIXES: Final = {
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}
_OTHER_IMAGE_SUFFIXES: Final = frozenset({".avif", ".bmp", ".gif", ".heic", ".jxl", ".svg", ".tif", ".tiff"})


class Picture(NamedTuple):
    """One picture as a file; it says in its metadata how it was made."""

    data: bytes
    media_type: str

    def save(self, path: str | Path) -> Path:
        """Write the file and return its path.

        Raises:
            InvalidRequest: the suffix is that of another format; any that is no image format's is taken.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        named = _IMAGE_SUFFIXES.get(suffix)
        if suffix in _OTHER_IMAGE_SUFFIXES:
            from gpunode.errors import InvalidRequest  # noqa: PLC0415 -- as below

            raise InvalidRequest(f"{path.name} would hold {self.media_type}: end its name in .png, .jpg or .webp.")
        if named not in {None, self.media_type}:
            from gpunode.errors import InvalidRequest  # noqa: PLC0415 -- errors are made of these types

            asked = str(named).removeprefix("image/")
            raise InvalidRequest(
                f"{path.name} would hold {self.media_type}: ask for it with generate_image(format={asked!r}), or save "
                "it under another name."
            )
        path.write_bytes(self.data)
        return path


class ImageUsage(NamedTuple):
    """What is paid for. image_units: 1,024 pixel-steps each."""

    images: int
    image_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult(JobResult):
    """Pictures. seed: of the first one; the next one's is one higher."""

    images: tuple[Picture, ...] = field(repr=False)
    seed: int
    usage: ImageUsage

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the pictures and return their paths: ``path``, or of several ``NAME-1.SUFFIX`` and so on."""
        path = Path(path)
        if len(self.images) == 1:
            return (self.images[0].save(path),)
        numbered = (path.with_stem(f"{path.stem}-{number}") for number in range(1, len(self.images) + 1))
        return tuple(picture.save(name) for picture, name in zip(self.images, numbered, strict=True))


class SpokenWord(NamedTuple):
    """One word and when it was said, in seconds from the start of the audio."""

    text: str
    start_s: float
    end_s: float


class SpokenSegment(NamedTuple):
    """Some words that were said together. words: only where they were asked for."""

    text: str
    start_s: float
    end_s: float
    words: tuple[SpokenWord, ...] | None = None


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A live node and one model that it serves, as its advert and a probe say.

    rtt_ms and the three counts are None when the node did not answer the probe. speed: measured by the node, in words
    and the task's unit. tokens_per_s: of answers, or of the texts that are embedded; None for images and speech.
    place_doubtful: whether measured round trips contradict its region or coordinates, as the tracker says.
    """

    node: str
    region: str
    country: str
    model: str
    gpu: str
    speed: str
    tokens_per_s: float | None
    context: int
    path: str
    source: Source
    rtt_ms: float | None
    active: int | None
    queued: int | None
    slots: int | None
    place_doubtful: bool


class QueueEvent(NamedTuple):
    """What happens to a job in the tracker's queue.

    name: ``queued``, ``running``, ``tokens``, ``progress`` or ``done``. data: as docs/api.md lists it.
    """

    name: str
    data: Mapping[str, Any]

    @property
    def is_output(self) -> bool:
        """Whether it brings something of the answer, or tells how far it is; others tell the job's state."""
        return self.name in {"tokens", "progress"}


__all__ = [
    "Attempt",
    "ChatResult",
    "Chunk",
    "EmbeddingResult",
    "FunctionCall",
    "ImageProgress",
    "ImageResult",
    "ImageUsage",
    "JobReceipt",
    "JobResult",
    "Message",
    "NodeInfo",
    "Picture",
    "QueueEvent",
    "ReceiptProof",
    "Route",
    "Source",
    "SpokenSegment",
    "SpokenWord",
    "TokenLogprob",
    "ToolCall",
    "Usage",
]
