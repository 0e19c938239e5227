"""Fixed identities and one valid example of everything, from which tests make what they need."""

from typing import Any

from gpunode_protocol.adverts import ADVERT_LIFETIME_S, Advert, Gpu, Load, ModelAdvert, Speed
from gpunode_protocol.blobs import Blob
from gpunode_protocol.certificates import CERTIFICATE_LIFETIME_S, Certificate
from gpunode_protocol.grants import Cap, Confirmation, Grant, audience, issue_grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyset import KeySet, TrackerKey, key_id_of, network_id_of
from gpunode_protocol.payloads import (
    BlobRef,
    ChatMessage,
    EmbeddingParams,
    ImageParams,
    LlmParams,
    Params,
    SpeechParams,
)
from gpunode_protocol.regions import Region
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.trust import Trust

ROOT = Identity.from_seed(b"\x01" * 32)
TRACKER = Identity.from_seed(b"\x02" * 32)
NODE = Identity.from_seed(b"\x03" * 32)
CLIENT = Identity.from_seed(b"\x04" * 32)
STRANGER = Identity.from_seed(b"\x05" * 32)

NETWORK = network_id_of(ROOT.public_key)
OTHER_NETWORK = network_id_of(STRANGER.public_key)
KID = key_id_of(TRACKER.public_key)
NOW = 1_800_000_000  # Unix seconds
JOB = "01a17b3c-5d00-7abc-8def-0123456789ab"
SALT = bytes(range(32))
FINGERPRINT = bytes([0xF1]) * 32
JTI = "grant-0001"


def chat_params(**changes: Any) -> LlmParams:
    """Return the parameters of a short chat."""
    fields = {"messages": (ChatMessage(role="user", content="What is the capital of France?"),), "max_tokens": 256}
    return LlmParams(**{**fields, **changes})


def image_params(**changes: Any) -> ImageParams:
    """Return parameters of two pictures of 64 units each."""
    fields = {"prompt": "a seven", "width": 64, "height": 64, "steps": 16, "guidance_millionths": 7_500_000, "n": 2}
    return ImageParams(**{**fields, **changes})


AUDIO = (Blob(id=0, media_type="audio/wav", data=bytes(600_000)),)
"""Input of three pieces."""


def speech_params(**changes: Any) -> SpeechParams:
    """Return the parameters of a transcription of at most a minute."""
    audio = BlobRef(id=0, size_bytes=5, digest=b"\x0a" * 32, media_type="audio/wav")
    return SpeechParams(**{"audio": audio, "max_audio_ms": 60_000, **changes})


def embedding_params() -> EmbeddingParams:
    """Return the parameters of two embeddings."""
    return EmbeddingParams(inputs=("one", "two"))


def grant_claims(**changes: Any) -> Grant:
    """Return the claims of an open grant for all tasks."""
    fields: dict[str, Any] = {
        "iss": audience(NETWORK),
        "aud": audience(NETWORK),
        "sub": "s-0001",
        "jti": JTI,
        "iat": NOW - 10,
        "exp": NOW + 3_000,
        "cnf": Confirmation(peer=CLIENT.peer_id),
        "tasks": tuple(Task),
        "jobs": 16,
        "price": 1,
        "cap": Cap(open=50_000_000),
    }
    return Grant(**{**fields, **changes})


def token_of(grant: Grant) -> str:
    """Return a grant signed by the tracker."""
    return issue_grant(grant, signer=TRACKER, kid=KID)


def grant_token(**changes: Any) -> str:
    """Return the usual grant with changes, signed by the tracker."""
    return token_of(grant_claims(**changes))


def request_body(params: Params | None = None, task: Task = Task.LLM, **changes: Any) -> JobRequest:
    """Return the body of a request to ``NODE``."""
    fields: dict[str, Any] = {
        "network": NETWORK,
        "job": JOB,
        "segment": 0,
        "client": CLIENT.peer_id,
        "node": NODE.peer_id,
        "grant": grant_token(),
        "issued_at": NOW,
        "deadline_at": NOW + 600,
        "task": task,
        "model": "smollm2-135m",
        "params": (params or chat_params()).to_map(),
        "salt": SALT,
    }
    return JobRequest(**{**fields, **changes})


def signed_request(params: Params | None = None, task: Task = Task.LLM, **changes: Any) -> Signed[JobRequest]:
    """Return a request to ``NODE`` signed by ``CLIENT``."""
    return sign(CLIENT, request_body(params, task, **changes))


def certificate(**changes: Any) -> Signed[Certificate]:
    """Return the certificate of ``NODE``."""
    fields: dict[str, Any] = {
        "network": NETWORK,
        "peer": NODE.peer_id,
        "serial": "0011223344556677",
        "issued_at": NOW - 3_600,
        "expires_at": NOW - 3_600 + CERTIFICATE_LIFETIME_S,
        "kid": KID,
    }
    return sign(TRACKER, Certificate(**{**fields, **changes}))


def advert_body(**changes: Any) -> Advert:
    """Return an advert of ``NODE``."""
    fields: dict[str, Any] = {
        "network": NETWORK,
        "peer": NODE.peer_id,
        "certificate": certificate().envelope,
        "sequence": 7,
        "region": Region.EUROPE,
        "country": "DE",
        "latitude": 52,
        "longitude": 13,
        "gpu": Gpu(model="NVIDIA GeForce RTX 4090", count=1, memory_mb=24_564),
        "model": ModelAdvert(
            name="smollm2-135m",
            task=Task.LLM,
            fingerprint=FINGERPRINT,
            speed=Speed(input_milliunits_per_s=900_000, output_milliunits_per_s=76_000),
            context=8_192,
            slots=8,
        ),
        "load": Load(active=1, queued=2),
        "rtt_ms": {"asia": 180, "europe": 12},
        "addresses": ("/ip4/203.0.113.7/tcp/4001", "/ip4/203.0.113.7/udp/4001/quic-v1"),
        "expires_at": NOW + ADVERT_LIFETIME_S,
    }
    return Advert(**{**fields, **changes})


def signed_advert(**changes: Any) -> Signed[Advert]:
    """Return an advert signed by ``NODE``."""
    return sign(NODE, advert_body(**changes))


def keyset_body(**changes: Any) -> KeySet:
    """Return a key set with one key, in use since long."""
    key = TrackerKey(kid=KID, public_key=TRACKER.public_key, not_before=NOW - 1_000_000)
    return KeySet(**{"network": NETWORK, "sequence": 3, "issued_at": NOW - 900_000, "keys": (key,), **changes})


def trust(**changes: Any) -> Trust:
    """Return what a participant of the network believes."""
    return Trust.from_keyset(ROOT.public_key, sign(ROOT, keyset_body(**changes)).envelope)


def revocations(**changes: Any) -> Signed[Revocations]:
    """Return a revocation list."""
    fields = {"network": NETWORK, "sequence": 5, "issued_at": NOW, "grants": ("g1",), "certificates": ("c1",)}
    return sign(TRACKER, Revocations(**{**fields, "kid": KID, **changes}))
