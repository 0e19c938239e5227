"""A submission is checked, completed and measured before anything is reserved for it."""

import base64
import json
from typing import Any

import pytest
from gpunode_protocol.errors import JobError
from gpunode_protocol.tasks import Task
from gpunode_tracker.errors import InvalidRequest
from gpunode_tracker.jobs.preparing import PreparedJob, prepare

from tests.tracker.jobs.queue_parties import HELLO, submission
from tests.tracker.parties import START_AT

PNG = base64.b64encode(b"\x89PNG").decode()


def prepared(model: str | None = None, **changes: Any) -> PreparedJob:
    """Return a prepared submission."""
    return prepare(submission(**changes), model=model, now=START_AT)


def image(model: str | None = None, **params: Any) -> dict[str, Any]:
    """Return what is kept of an image's parameters."""
    job = prepared(model, type=Task.IMAGE_GEN, params={"prompt": "a seven", **params})
    value: dict[str, Any] = json.loads(job.params)
    return value


def test_a_chat_is_kept_as_it_came() -> None:
    """And measured by the prompt's bound and all tokens."""
    job = prepared()
    assert json.loads(job.params) == HELLO
    assert (job.input_units, job.output_units) == (len("Hello") + 512 + 32, 100)


def test_an_images_price_depends_on_what_is_filled_in() -> None:
    """Size, steps and guidance of the model that will draw it."""
    assert image("digits-diffusion") == {"prompt": "a seven", "width": 32, "height": 32, "steps": 20, "guidance": 3.0}
    assert image()["width"] == 512
    job = prepared("digits-diffusion", type=Task.IMAGE_GEN, params={"prompt": "x", "n": 2})
    assert job.output_units == 2 * 32 * 32 * 20 // 1024


def test_what_is_given_stays() -> None:
    """A size in either way of writing is not written over."""
    assert image("digits-diffusion", size="64x64", steps=4)["size"] == "64x64"
    assert "width" not in image("digits-diffusion", size="64x64")
    assert image("digits-diffusion", width=64, height=64, guidance=0)["guidance"] == 0


def test_files_stay_base64() -> None:
    """As whoever pulls the job expects them."""
    assert image(image=PNG)["image"] == PNG


def test_the_digest_tells_contents_apart() -> None:
    """Not their order in the JSON text."""
    other = dict(reversed(list(HELLO.items())))
    assert prepared().digest == prepared(params=other).digest
    assert len({prepared().digest, prepared(priority=1).digest, prepared(region="asia").digest}) == 3


def test_a_webhook_is_checked_at_once() -> None:
    """Not when the job ends; the address itself, which may hold secrets, is not repeated."""
    webhook = prepared(webhook="https://example.org/done").webhook
    assert webhook is not None
    assert webhook.text == "https://example.org/done"
    with pytest.raises(InvalidRequest, match="webhook: ") as caught:
        prepared(webhook="https://user:secret@example.org/")
    assert "secret" not in str(caught.value)


def test_parameters_are_checked_whole() -> None:
    """What only the signed form forbids is found too."""
    with pytest.raises(JobError, match="tools: must have at most 400,000"):
        prepared(params=HELLO | {"tools": [{"description": "x" * 400_000}]})


def test_a_schema_that_is_none_is_refused() -> None:
    """Before anything is reserved."""
    with pytest.raises(JobError, match="json_schema: is not a JSON schema"):
        prepared(params=HELLO | {"json_schema": {"type": "nonsense"}})
