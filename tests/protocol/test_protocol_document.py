"""docs/protocol.md names everything that travels, and its examples are those of the vectors."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from gpunode_protocol import tracker_api
from gpunode_protocol.errors import RETRYABLE, ErrorCode
from gpunode_protocol.grants import Grant
from gpunode_protocol.ledger_entries import LedgerEntry
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.messages import CLIENT_FRAMES, NODE_FRAMES, PROBE_FRAMES, PROBE_REPLY_FRAMES
from gpunode_protocol.payloads import PARAMS_OF
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import SignedBody
from gpunode_protocol.tasks import Task
from gpunode_protocol.trust import NodeIndex
from pydantic import BaseModel

from tests.vectors.examples import SIGNED

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
WORDS = set(re.findall(r"[A-Za-z0-9_.-]+", TEXT))
#: Without the layout of hexadecimal lines.
SQUEEZED = re.sub(r"\s", "", TEXT)

FRAMES = {**CLIENT_FRAMES, **NODE_FRAMES, **PROBE_FRAMES, **PROBE_REPLY_FRAMES}
BODIES: set[type[SignedBody]] = {type(signed.body) for _, signed in SIGNED.values()} | {NodeIndex}


def _models_within(annotation: Any) -> set[type[BaseModel]]:
    """Return the models inside a field's annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for inner in get_args(annotation) for model in _models_within(inner)}


def _fields(model: type[BaseModel]) -> set[str]:
    """Return the names of a model's fields and of those inside it."""
    names = set(model.model_fields)
    for field in model.model_fields.values():
        for inner in _models_within(field.annotation):
            names |= _fields(inner)
    return names


@pytest.mark.parametrize("name", FRAMES)
def test_frames(name: str) -> None:
    """Every frame type and each of its fields is described."""
    assert f"`{name}`" in TEXT
    assert _fields(FRAMES[name]) - WORDS == set()


@pytest.mark.parametrize("model", sorted(BODIES, key=lambda model: model.signature_type), ids=lambda m: m.__name__)
def test_signed_bodies(model: type[SignedBody]) -> None:
    """Every signed type and each of its fields is described."""
    assert f"`{model.signature_type}`" in TEXT
    assert _fields(model) - WORDS == set()


@pytest.mark.parametrize("model", [*PARAMS_OF.values(), Grant, LedgerEntry, ReceiptProof], ids=lambda m: m.__name__)
def test_other_maps(model: type[BaseModel]) -> None:
    """Every parameter, claim and field of entry and proof is described."""
    assert _fields(model) - WORDS == set()


@pytest.mark.parametrize("code", list(ErrorCode))
def test_error_codes(code: ErrorCode) -> None:
    """Every code is in the table, with whether it may be retried."""
    assert f"| `{code.value}` | {'yes' if code in RETRYABLE else 'no'} |" in TEXT


def test_no_other_error_codes() -> None:
    """The table has no code that does not exist."""
    assert set(re.findall(r"^\| `([a-z_]+)` \| (?:yes|no) \|", TEXT, re.MULTILINE)) == {
        code.value for code in ErrorCode
    }


def test_tasks_and_regions() -> None:
    """Every task and region is named."""
    assert {*Task, *Region} - WORDS == set()


def test_paths() -> None:
    """Every REST path is named."""
    paths = [value for name, value in vars(tracker_api).items() if name.endswith("_PATH")]
    assert [path for path in paths if path.split("{receipt")[0] not in TEXT] == []


def test_rest_fields() -> None:
    """Every field of a REST body is named."""
    models = [
        value
        for value in vars(tracker_api).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == tracker_api.__name__
    ]
    assert {name for model in models for name in _fields(model)} - WORDS == set()


def _vectors(name: str) -> Any:
    return json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text(encoding="utf-8"))


def test_worked_example() -> None:
    """The document's bytes are the vectors' bytes."""
    identities = _vectors("identities")
    node = identities["identities"][2]
    frames = {vector["name"]: vector["bytes"] for vector in _vectors("frames")}
    link = next(vector for vector in _vectors("signed_bodies") if vector["name"] == "link")
    adverts, digests, ledger = _vectors("adverts"), _vectors("digests"), _vectors("ledger")
    shown = [
        *(node[key] for key in ("public_key", "peer_id", "dht_node_id")),
        identities["network"],
        link["body"],
        link["signature"],
        b"gpunode/1/link\0".hex(),
        frames["ping"],
        frames["tokens"],
        *(step["digest"] for step in digests["transcript"][:2]),
        adverts["records"][0]["key"],
        adverts["records"][0]["key_id"],
        ledger["entry"]["leaf_hash"],
    ]
    assert [item for item in shown if item not in SQUEEZED] == []
