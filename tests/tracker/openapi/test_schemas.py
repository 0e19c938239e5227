"""Schemas say exactly what the models read and write."""

import base64
import re
from typing import Annotated, Any

import pytest
from annotated_types import Ge, MaxLen, MinLen
from gpunode_protocol import jobs_api, tracker_api
from gpunode_protocol.identity import Identity
from gpunode_protocol.signing import WireModel
from gpunode_protocol.validation import Digest, PeerIdField
from gpunode_tracker.openapi.schemas import schemas_of
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError


class Sample(WireModel):
    """Of each kind a field."""

    digest: Digest
    blob: Annotated[bytes, MinLen(1), MaxLen(7)] = b"1"
    free: bytes = b""
    peer: PeerIdField | None = None
    choice: int | str | None = None
    count: Annotated[int, Ge(1)] = 1


DIGEST = base64.urlsafe_b64encode(bytes(32)).decode()


def _schema(*, is_reply: bool) -> dict[str, Any]:
    models, schemas = schemas_of([] if is_reply else [Sample], [Sample] if is_reply else [])
    assert dict(models) == {
        (Sample, "serialization" if is_reply else "validation"): {"$ref": "#/components/schemas/Sample"}
    }
    return schemas["Sample"]


def test_a_body_may_leave_out_what_has_a_default() -> None:
    """What is None may be null as well."""
    schema = _schema(is_reply=False)
    assert schema["required"] == ["digest"]
    assert {"type": "null"} in schema["properties"]["peer"]["anyOf"]


def test_an_answer_leaves_out_only_what_is_none() -> None:
    """So all else is required, and nothing is ever null or by default."""
    schema = _schema(is_reply=True)
    assert schema["required"] == ["digest", "blob", "free", "count"]
    assert schema["properties"]["peer"] == {"type": "string", "pattern": "^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$"}
    assert schema["properties"]["choice"] == {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert "default" not in schema["properties"]["count"]


def test_what_is_written_fits_the_schema() -> None:
    """With and without its optional fields."""
    validator = Draft202012Validator(_schema(is_reply=True))
    full = Sample(digest=bytes(32), blob=b"\xff\xfe", free=b"x" * 100, peer=Identity.generate().peer_id, choice="a")
    for sample in (full, Sample(digest=bytes(range(32)))):
        validator.validate(sample.model_dump(mode="json", exclude_none=True))


@pytest.mark.parametrize("is_reply", [True, False])
def test_no_titles_repeat_the_names(is_reply: bool) -> None:
    """A document of hundreds of fields is long enough."""
    assert all("title" not in field for field in _schema(is_reply=is_reply)["properties"].values())


@given(st.text(alphabet="AQgwZ-_=", max_size=12))
def test_a_text_is_bytes_for_the_schema_as_for_the_model(text: str) -> None:
    """Padding is there or not, the bits that mean nothing are 0, the length is within its range."""
    validator = Draft202012Validator(_schema(is_reply=False))
    body = {"digest": DIGEST, "free": text}
    try:
        Sample.model_validate_json(f'{{"digest":"{DIGEST}","free":"{text}"}}')
    except ValidationError:
        assert not validator.is_valid(body)
    else:
        # a wrong number of padding signs is overlooked, but not promised
        assert validator.is_valid(body) or re.fullmatch("[^=]+=*", text)


@given(st.binary(max_size=9))
def test_lengths_of_bytes_are_told_as_lengths_of_text(data: bytes) -> None:
    """As the model counts: bytes; as the schema counts: characters."""
    validator = Draft202012Validator(_schema(is_reply=False))
    text = base64.urlsafe_b64encode(data).decode()
    for form in (text, text.rstrip("=")):
        fits = validator.is_valid({"digest": DIGEST, "blob": form})
        assert fits >= (1 <= len(data) <= 7)
        assert not fits or len(data) in range(1, 10)
    assert validator.is_valid({"digest": text}) == (len(data) == 32)


@pytest.mark.parametrize("size", [31, 33])
def test_a_digest_of_another_size_fits_no_schema(size: int) -> None:
    """Its text has other characters or another number of them."""
    text = base64.urlsafe_b64encode(bytes(size)).decode()
    for form in (text, text.rstrip("=")):
        assert not Draft202012Validator(_schema(is_reply=False)).is_valid({"digest": form})


@pytest.mark.parametrize("module", [tracker_api, jobs_api])
def test_every_rest_model_has_schemas(module: Any) -> None:
    """Of both kinds, and each is a valid JSON schema."""
    models = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, WireModel)]
    assert len(models) > 10
    _, schemas = schemas_of(models, models)
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
