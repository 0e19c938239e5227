"""One message of every kind, or more where an optional field is worth showing."""

from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyset import TrackerKey
from gpunode_protocol.messages import (
    BlobFrame,
    CancelFrame,
    DoneFrame,
    DrainingFrame,
    ErrorFrame,
    Frame,
    PingFrame,
    ProbeFrame,
    ProbeReplyFrame,
    ProgressFrame,
    QueuedFrame,
    RequestFrame,
    SegmentFrame,
    SettledFrame,
    TokenLogprob,
    TokensFrame,
    VoucherFrame,
    Word,
)
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.payloads import BlobRef, ChatMessage
from gpunode_protocol.regions import Region
from gpunode_protocol.requests import Resume
from gpunode_protocol.signing import Signed, SignedBody, WireModel, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import (
    GrantRequest,
    HeartbeatRequest,
    Link,
    LinkRequest,
    RegisterRequest,
    Registration,
    ReportRequest,
    RoundTrip,
    SettlementBatch,
    SettlementItem,
    SettlementReply,
    SettlementResult,
)
from gpunode_protocol.tree_head import TreeHead
from gpunode_protocol.trust import NodeIndex

from tests.protocol.conversation import PROMPT_DIGEST, accepted_frame
from tests.protocol.ledger_samples import completed_chat
from tests.protocol.samples import (
    CLIENT,
    FINGERPRINT,
    KID,
    NETWORK,
    NODE,
    NOW,
    ROOT,
    SALT,
    STRANGER,
    TRACKER,
    certificate,
    chat_params,
    embedding_params,
    image_params,
    keyset_body,
    revocations,
    signed_advert,
    signed_request,
    speech_params,
)

CHAT = completed_chat()
CHALLENGE = bytes(range(32, 64))
NONCE = bytes(range(16))
PICTURE = b"picture"

_RESUMED = signed_request(
    segment=1,
    start=3,
    fingerprint=FINGERPRINT,
    previous_voucher=bytes([7]) * 32,
    resume=Resume(ids=(504, 260, 2**32 - 1), text_offset=11, prompt_digest=PROMPT_DIGEST),
)
_FULL_CHAT = chat_params(
    messages=(
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="Grüße! 你好", name="ada"),
        ChatMessage(role="assistant", tool_calls='[{"id":"call-1"}]'),
        ChatMessage(role="tool", content="{}", tool_call_id="call-1"),
    ),
    max_tokens=64,
    temperature_millionths=0,
    seed=7,
    stop=("\n\n",),
    logprobs=2,
    json_schema='{"type":"object"}',
    tools="[]",
    tool_choice='"auto"',
    now=NOW,
)
_IMAGE = BlobRef(id=1, size_bytes=7, digest=blob_digest(SALT, PICTURE), media_type="image/png")
_MASK = BlobRef(id=2, size_bytes=7, digest=blob_digest(SALT, PICTURE), media_type="image/png")
_OLD_KEY = TrackerKey(
    kid="0011223344556677", public_key=STRANGER.public_key, not_before=NOW - 9_000_000, retired_at=NOW - 1_000_000
)

FRAMES: dict[str, Frame] = {
    "request": RequestFrame(request=signed_request().envelope),
    "voucher": VoucherFrame(voucher=CHAT.voucher.envelope),
    "cancel": CancelFrame(reason="user left"),
    "blob": BlobFrame(
        id=1,
        media_type="image/png",
        total_bytes=len(PICTURE),
        offset=0,
        digest=blob_digest(SALT, PICTURE),
        data=PICTURE,
        units=64,
    ),
    "accepted": accepted_frame(position=2),
    "queued": QueuedFrame(position=1, eta_s=0.25),
    "tokens": TokensFrame(ids=(504, 2**32 - 1), text=" Paris é"),
    "tokens with logprobs": TokensFrame(
        ids=(504,), text=" Paris", logprobs=(TokenLogprob(id=504, logprob=-0.25, top=((504, -0.25), (9, -1.5))),)
    ),
    "progress": ProgressFrame(step=3, total=20),
    "progress with preview": ProgressFrame(step=4, total=20, preview=b"\xff\xd8\xff"),
    "segment": SegmentFrame(start_ms=0, end_ms=1_500, text="Hello."),
    "segment with words": SegmentFrame(
        start_ms=1_500, end_ms=2_000, text="Yes", language="en", words=(Word(start_ms=1_500, end_ms=1_900, text="Yes"),)
    ),
    "done": DoneFrame(
        finish_reason=CHAT.finish_reason,
        usage=CHAT.usage,
        digest=CHAT.receipt.body.output_digest,
        receipt=CHAT.receipt.envelope,
    ),
    "error": ErrorFrame.of(job_error(ErrorCode.BUSY, "The queue is full; try another node.", retry_after_s=2.5)),
    "draining": DrainingFrame(deadline_s=30.0),
    "ping": PingFrame(),
    "settled": SettledFrame(),
    "probe": ProbeFrame(nonce=NONCE, model="smollm2-135m"),
    "probe_reply": ProbeReplyFrame(nonce=NONCE, active=1, queued=2, slots=8, wait_ms=900),
}

SIGNED: dict[str, tuple[Identity, Signed[SignedBody]]] = {
    "request": (CLIENT, signed_request()),
    "request with everything": (CLIENT, signed_request(_FULL_CHAT)),
    "request that resumes": (CLIENT, _RESUMED),
    "request for pictures": (CLIENT, signed_request(image_params(mode="image", image=_IMAGE), Task.IMAGE_GEN)),
    "request for inpainting": (
        CLIENT,
        signed_request(
            image_params(
                mode="inpaint",
                image=_IMAGE,
                mask=_MASK,
                negative_prompt="blurred",
                strength_millionths=800_000,
                seed=5,
                n=2,
                format="webp",
                preview_every_steps=5,
            ),
            Task.IMAGE_GEN,
        ),
    ),
    "request for speech": (CLIENT, signed_request(speech_params(language="en"), Task.WHISPER)),
    "request for embeddings": (CLIENT, signed_request(embedding_params(), Task.EMBEDDING)),
    "voucher": (CLIENT, CHAT.voucher),
    "receipt": (NODE, CHAT.receipt),
    "advert": (NODE, signed_advert()),
    "advert tombstone": (NODE, signed_advert(sequence=8, tombstone=True)),
    "certificate": (TRACKER, certificate()),
    "keyset": (ROOT, sign(ROOT, keyset_body(keys=(_OLD_KEY, *keyset_body().keys)))),
    "revocations": (TRACKER, revocations()),
    "tree-head": (
        TRACKER,
        sign(
            TRACKER,
            TreeHead(network=NETWORK, log="log-1", epoch=2, size=9, root=bytes([9]) * 32, issued_at=NOW, kid=KID),
        ),
    ),
    "node-index": (
        TRACKER,
        sign(TRACKER, NodeIndex(network=NETWORK, issued_at=NOW, adverts=(signed_advert().envelope,), kid=KID)),
    ),
    "registration": (
        NODE,
        sign(
            NODE,
            Registration(
                network=NETWORK,
                peer=NODE.peer_id,
                challenge=CHALLENGE,
                name="attic",
                region=Region.EUROPE,
                country="DE",
                gpu_model="NVIDIA GeForce RTX 4090",
                gpu_memory_mb=24_564,
                supported_tasks=(Task.LLM, Task.EMBEDDING),
            ),
        ),
    ),
    "link": (NODE, sign(NODE, Link(network=NETWORK, peer=NODE.peer_id, challenge=CHALLENGE))),
}

_OPEN = GrantRequest(peer=CLIENT.peer_id, tasks=(Task.LLM, Task.IMAGE_GEN), open_microcredits=10_000_000)
_NAMED = GrantRequest(peer=CLIENT.peer_id, tasks=(Task.LLM,), nodes={NODE.peer_id: 2_000_000}, priority=3)

REST: dict[str, WireModel] = {
    "register": RegisterRequest(registration=SIGNED["registration"][1].envelope),
    "heartbeat": HeartbeatRequest(
        status="online",
        adverts=(signed_advert().envelope,),
        memory_total_mb=24_564,
        round_trips=(RoundTrip(peer=NODE.peer_id, rtt_ms=7, region="asia", latitude=36, longitude=140),),
    ),
    "link": LinkRequest(link=SIGNED["link"][1].envelope),
    "open grant": _OPEN,
    "named grant": _NAMED,
    "settlements": SettlementBatch(
        items=(
            SettlementItem(voucher=CHAT.voucher.envelope, receipt=CHAT.receipt.envelope),
            SettlementItem(voucher=CHAT.voucher.envelope),
        )
    ),
    "settled": SettlementReply(
        results=(
            SettlementResult(status="settled", entry="entry-0004", paid_microcredits=470),
            SettlementResult(status="duplicate"),
        )
    ),
    "report": ReportRequest(
        node=NODE.peer_id,
        job=CHAT.receipt.body.job,
        segment=0,
        kind="bad_receipt",
        detail="another output",
        evidence=b"evidence",
    ),
}
"""Bodies of the tracker's REST interface as JSON; bytes are base64url."""
