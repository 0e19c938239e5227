"""A client's and a node's machine talking to each other without any network."""

from dataclasses import dataclass, field
from typing import Any

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import ClientJob, JobEvent
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.messages import AcceptedFrame, CancelFrame, RequestFrame, VoucherFrame
from gpunode_protocol.node_job import NodeJob
from gpunode_protocol.node_stream import NodeEvent, NodeStream, RequestChecks, open_request
from gpunode_protocol.patience import Patience
from gpunode_protocol.payloads import Params, Usage
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task

from tests.protocol.samples import CLIENT, FINGERPRINT, JTI, NETWORK, NODE, NOW, SALT, grant_claims, signed_request

PROMPT_DIGEST = salted_digest(SALT, "prompt", b"rendered prompt")
PROMPT_TOKENS = 17


def new_client(request: Signed[JobRequest], **changes: Any) -> ClientJob:
    """Return a client's machine whose stream opened at second 0."""
    return ClientJob(**{"identity": CLIENT, "request": request, "jti": JTI, "opened_at": 0.0, **changes})


def new_node(request: Signed[JobRequest]) -> NodeJob:
    """Return a node's job that arrived at second 0."""
    return NodeJob(identity=NODE, request=request, grant=grant_claims(), arrived_at=0.0)


def accepted_frame(**changes: Any) -> AcceptedFrame:
    """Return what ``NODE`` quotes."""
    fields: dict[str, Any] = {
        "prompt_tokens": PROMPT_TOKENS,
        "position": 0,
        "eta_s": 0.5,
        "fingerprint": FINGERPRINT,
        "prompt_digest": PROMPT_DIGEST,
    }
    return AcceptedFrame(**{**fields, **changes})


@dataclass
class Conversation:
    """Both machines, the bytes between them and one clock in seconds."""

    request: Signed[JobRequest]
    patience: Patience = field(default_factory=Patience)
    inputs: tuple[Blob, ...] = ()
    now: float = 0.0
    prompt_tokens: int = PROMPT_TOKENS
    node_events: list[NodeEvent] = field(default_factory=list)
    events: list[JobEvent] = field(default_factory=list)

    @classmethod
    def about(cls, params: Params | None = None, task: Task = Task.LLM, **changes: Any) -> "Conversation":
        """Return a conversation about a job of ``task``, accepted; image and speech have no prompt tokens."""
        names = ("patience", "inputs", "prompt_tokens")
        options = {name: changes.pop(name) for name in names if name in changes}
        if task in {Task.IMAGE_GEN, Task.WHISPER}:
            options.setdefault("prompt_tokens", 0)
        conversation = cls(signed_request(params, task, **changes), **options)
        conversation.accept()
        return conversation

    def __post_init__(self) -> None:
        """Open the stream and let the node read the request."""
        self.client = new_client(self.request, patience=self.patience, inputs=self.inputs)
        self.stream = NodeStream()
        self.sent_frames = 0
        self.client_sends()
        first = self.node_events[0]
        assert isinstance(first, RequestFrame)
        checks = RequestChecks(network=NETWORK, node=NODE.peer_id, peer=CLIENT.peer_id, now=NOW)
        self.node = new_node(open_request(first.request, checks))

    def client_sends(self) -> list[NodeEvent]:
        """Move everything that the client has to say; the node takes vouchers and cancels."""
        new: list[NodeEvent] = []
        while pieces := self.client.data_to_send(self.now):
            for piece in pieces:
                new += self.stream.receive_data(piece)
        self.node_events += new
        for event in new:
            if isinstance(event, VoucherFrame):
                self.node.receive_voucher(event.voucher)
        return new

    def node_sends(self) -> list[JobEvent]:
        """Move everything that the node has to say, then what the client answers."""
        new: list[JobEvent] = []
        while self.sent_frames < len(self.node.frames):
            new += self.client.receive_data(self.node.frames[self.sent_frames], self.now)
            self.sent_frames += 1
        self.events += new
        self.client_sends()
        return new

    def accept(self, **changes: Any) -> list[JobEvent]:
        """Let the node accept the job."""
        resume = self.request.body.resume
        message = accepted_frame(**{"prompt_tokens": self.prompt_tokens, **changes})
        self.node.accept(message, input_count=message.prompt_tokens + (len(resume.ids) if resume else 0))
        return self.node_sends()

    def say(self, count: int, *, each_s: float = 0.0) -> list[JobEvent]:
        """Let the node send ``count`` tokens, one a frame, ``each_s`` seconds apart."""
        new: list[JobEvent] = []
        for number in range(count):
            self.now += each_s
            self.node.tokens([number], f"t{number} ", now=self.now)
            new += self.node_sends()
        return new

    def usage(self, **changes: Any) -> Usage:
        """Return the usage that is true so far, or a changed one."""
        resume = self.request.body.resume
        fields: dict[str, Any] = {
            "input_tokens": self.prompt_tokens,
            "output_tokens": self.node.output.tokens,
            "resumed_tokens": len(resume.ids) if resume else 0,
        }
        return Usage(**{**fields, **changes})

    def finish(self, finish_reason: str = "stop", **usage: Any) -> list[JobEvent]:
        """Let the node end the job."""
        self.node.finish(usage=self.usage(**usage), finish_reason=finish_reason, now=self.now, finished_at=NOW + 5)
        return self.node_sends()

    def has_cancel(self) -> bool:
        """Whether the node was told to stop."""
        return any(isinstance(event, CancelFrame) for event in self.node_events)
