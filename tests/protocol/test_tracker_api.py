"""REST bodies of the tracker."""

import re
from typing import Any

import pytest
from gpunode_protocol import tracker_api
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.signing import Envelope, SignedBody, WireModel, open_signed, sign
from gpunode_protocol.tracker_api import (
    AccountReply,
    AccountRequest,
    BalanceReply,
    CallerPlace,
    ChallengeReply,
    ConsistencyReply,
    EntriesReply,
    GrantReply,
    GrantRequest,
    HeadReply,
    HeartbeatReply,
    HeartbeatRequest,
    LeavesReply,
    Link,
    LinkReply,
    LinkRequest,
    NetworkInfo,
    NodesReply,
    OwnEntry,
    OwnNodesReply,
    Problem,
    RegionCount,
    RegionsReply,
    RegisterReply,
    RegisterRequest,
    Registration,
    ReportRequest,
    RoundTrip,
    SeenPlace,
    SettlementBatch,
    SettlementItem,
    SettlementReply,
    SettlementResult,
)
from pydantic import BaseModel, ValidationError

from tests.protocol.ledger_samples import completed_chat, settlement
from tests.protocol.samples import CLIENT, JOB, NETWORK, NODE, NOW, ROOT

ENVELOPE = Envelope(body=bytes(range(256)), signature=b"\xfb\xff" * 32)
CHALLENGE = b"\x07" * 32
REGISTRATION = Registration(
    network=NETWORK, peer=NODE.peer_id, challenge=CHALLENGE, region="asia", supported_tasks=("llm", "whisper")
)
LINK = Link(network=NETWORK, peer=NODE.peer_id, challenge=CHALLENGE)

TRIP = RoundTrip(peer=NODE.peer_id, rtt_ms=7, region="asia", latitude=36, longitude=140)
EXAMPLES: list[WireModel] = [
    Problem(title="Not found", status=404, detail="There is no such receipt.", code="unknown_receipt"),
    NetworkInfo(
        network=NETWORK,
        root_public_key=ROOT.public_key,
        keyset=ENVELOPE,
        revocations=ENVELOPE,
        bootstrap=("/ip4/203.0.113.7/tcp/4001/p2p/12D3",),
        shard_bits=2,
        previous_shard_bits=1,
        countries={"europe": ("de", "fr")},
        prices=DEFAULT_PRICES,
        default_models={"llm": "smollm2-135m"},
        doubtful_places=(NODE.peer_id,),
        time=NOW,
    ),
    ChallengeReply(challenge=CHALLENGE, expires_at=NOW),
    RegisterRequest(registration=ENVELOPE),
    RegisterReply(
        node_id=NODE.peer_id,
        token="t",
        certificate=ENVELOPE,
        revocations=ENVELOPE,
        region="asia",
        seen=SeenPlace(region="asia", country="JP", latitude=36, longitude=140, accuracy_km=20),
    ),
    HeartbeatRequest(
        status="online",
        adverts=(ENVELOPE, ENVELOPE),
        memory_used_mb=1,
        memory_total_mb=2,
        round_trips=(TRIP, RoundTrip(peer=NODE.peer_id, rtt_ms=7, region="asia")),
    ),
    HeartbeatReply(
        revocations=ENVELOPE, keyset=ENVELOPE, certificate=ENVELOPE, bootstrap=(), shard_bits=0, head=ENVELOPE, time=NOW
    ),
    NodesReply(index=ENVELOPE),
    RegionsReply(
        regions=(
            RegionCount(
                region="asia",
                nodes=3,
                models={"smollm2-135m": 2},
                latitude=1,
                longitude=104,
                distances_km={"asia": 0, "europe": 10_279},
            ),
        ),
        caller=CallerPlace(
            region="europe", country="DE", latitude=53, longitude=13, accuracy_km=20, distances_km={"europe": 433}
        ),
        geoip_built_at=NOW,
    ),
    RegionsReply(regions=(), caller_unknown="no_database"),
    AccountRequest(name="Ada"),
    AccountReply(account="a1", api_key="k", spendable_microcredits=5),
    OwnNodesReply(nodes=(NODE.peer_id,)),
    GrantRequest(peer=CLIENT.peer_id, tasks=("llm",), open_microcredits=5),
    GrantRequest(peer=CLIENT.peer_id, tasks=("llm",), nodes={NODE.peer_id: 5}, jobs=2, priority=1, lifetime_s=60),
    GrantReply(grant="a.b.c", jti="j", expires_at=NOW, reserved_microcredits=5),
    SettlementBatch(items=(SettlementItem(voucher=ENVELOPE, receipt=ENVELOPE), SettlementItem(voucher=ENVELOPE))),
    SettlementReply(
        results=(
            SettlementResult(status="settled", entry="e1", paid_microcredits=470),
            SettlementResult(status="rejected", reason="no such grant"),
        )
    ),
    ReportRequest(node=NODE.peer_id, job=JOB, segment=0, kind="bad_receipt", detail="usage", evidence=b"\xff\xfe"),
    BalanceReply(account="a1", spendable_microcredits=5, reserved_microcredits=2, promotional=True),
    EntriesReply(entries=(OwnEntry(entry=settlement(completed_chat()), index=4),), next_cursor="c"),
    HeadReply(head=ENVELOPE),
    LeavesReply(start=0, leaves=(b"\x01" * 32,)),
    ConsistencyReply(from_size=1, to_size=2, path=(b"\x01" * 32,)),
    LinkRequest(link=ENVELOPE),
    LinkReply(account="a1", moved_microcredits=5),
]


def _models() -> set[type[BaseModel]]:
    return {
        value
        for value in vars(tracker_api).values()
        if isinstance(value, type) and issubclass(value, WireModel) and value.__module__ == tracker_api.__name__
    }


def test_every_body_has_an_example() -> None:
    """No body is missing in these tests; signed ones and parts of others aside."""
    parts = {
        RegionCount,
        CallerPlace,
        SeenPlace,
        RoundTrip,
        OwnEntry,
        SettlementItem,
        SettlementResult,
        Registration,
        Link,
    }
    assert {type(example) for example in EXAMPLES} == _models() - parts


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: type(body).__name__)
def test_json_round_trip(body: WireModel) -> None:
    """Every body is read as it was written."""
    assert type(body).model_validate_json(body.model_dump_json()) == body


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: type(body).__name__)
def test_unknown_key_is_ignored(body: WireModel) -> None:
    """A later version may add keys."""
    text = body.model_dump_json()
    assert type(body).model_validate_json(text[:-1] + ',"zeta":{"a":[1]}}') == body


def test_bytes_are_url_safe_base64() -> None:
    """Bytes travel as URL-safe base64 with padding; nothing else is read."""
    text = HeadReply(head=ENVELOPE).model_dump_json()
    assert '"signature":"-_' in text
    for wrong in ('"+/"', '"é"', '"a"', "[1]", "1", "null"):
        with pytest.raises(ValidationError):
            HeadReply.model_validate_json(re.sub('"signature":"[^"]*"', f'"signature":{wrong}', text))


@pytest.mark.parametrize("body", [REGISTRATION, LINK], ids=lambda body: type(body).__name__)
def test_signed_bodies(body: SignedBody) -> None:
    """Registration and link are read as they were signed."""
    assert open_signed(type(body), sign(NODE, body).envelope, NODE.public_key).body == body


@pytest.mark.parametrize(
    ("model", "change"),
    [
        (GrantRequest, {"lifetime_s": 59}),
        (GrantRequest, {"lifetime_s": 3_601}),
        (GrantRequest, {"tasks": ()}),
        (GrantRequest, {"tasks": ("chess",)}),
        (GrantRequest, {"nodes": {"someone": 5}}),
        (HeartbeatRequest, {"adverts": (ENVELOPE,) * 9}),
        (HeartbeatRequest, {"status": "asleep"}),
        (HeartbeatRequest, {"round_trips": (TRIP,) * 17}),
        (HeartbeatRequest, {"round_trips": ({**TRIP.to_map(), "rtt_ms": -1},)}),
        (HeartbeatRequest, {"round_trips": ({**TRIP.to_map(), "rtt_ms": 60_001},)}),
        (HeartbeatRequest, {"round_trips": ({**TRIP.to_map(), "latitude": 91},)}),
        (HeartbeatRequest, {"round_trips": ({**TRIP.to_map(), "peer": "someone"},)}),
        (NetworkInfo, {"doubtful_places": (NODE.peer_id,) * 257}),
        (SettlementBatch, {"items": ()}),
        (SettlementBatch, {"items": (SettlementItem(voucher=ENVELOPE),) * 1_001}),
        (ReportRequest, {"kind": "boring"}),
        (ReportRequest, {"evidence": bytes(16_385)}),
        (ReportRequest, {"job": "1"}),
        (NetworkInfo, {"shard_bits": 17}),
        (ChallengeReply, {"challenge": bytes(15)}),
        (LeavesReply, {"leaves": (b"",)}),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else value.__name__,
)
def test_limits(model: type[WireModel], change: dict[str, Any]) -> None:
    """Fields out of range are refused."""
    example = next(example for example in EXAMPLES if type(example) is model)
    with pytest.raises(ValidationError):
        model.model_validate({**example.model_dump(), **change})


def test_paths() -> None:
    """Paths begin with the API's version, but for those whose place is fixed elsewhere."""
    paths = {name: value for name, value in vars(tracker_api).items() if name.endswith("_PATH")}
    fixed = {"JWKS_PATH": "/.well-known/jwks.json", "HEALTH_PATH": "/healthz", "READY_PATH": "/readyz"}
    assert {name: value for name, value in paths.items() if not value.startswith("/api/v1/")} == fixed
    assert len(set(paths.values())) == len(paths)
