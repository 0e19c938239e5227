"""What the document says is true, whatever is sent: schemathesis against a real tracker."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from gpunode_tracker.openapi.document import openapi_document
from gpunode_tracker.openapi.parameters import VARIABLES
from gpunode_tracker.routes import ROUTES
from hypothesis import settings
from schemathesis.config import SchemathesisConfig

from tests.tracker.openapi.fuzzed import FuzzedTracker, fuzzed_tracker

pytestmark = pytest.mark.timeout(900)  # one path with a body of many shapes has thousands of cases in a full run

BY_NAME = {f"{route.method} {route.path}": route for route in ROUTES}
IS_FULL = settings.default is not None and settings.default.max_examples > 100
EXAMPLES = 50 if IS_FULL else 3


def _document() -> dict[str, Any]:
    """Return the document, with ids in paths being those of the examples half of the time."""
    document = copy.deepcopy(openapi_document(ROUTES))
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    schema = parameter["schema"]
                    schema["anyOf"] = [{"enum": schema["examples"]}, {"pattern": schema.pop("pattern")}]
    return document


CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {"with-security-parameters": False},
        "phases": {"coverage": {"enabled": IS_FULL}},
        "checks": {
            # a job that has not ended in time is no failure; the document says where that can be
            "not_a_server_error": {"expected-statuses": ["2XX", "3XX", "4XX", "504"]},
            "negative_data_rejection": {"expected-statuses": ["4XX"]},
            # right values can still be refused, for what they mean
            "positive_data_acceptance": {"enabled": False},
        },
    }
)
schema = schemathesis.openapi.from_dict(_document(), config=CONFIG)


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuzzedTracker]:
    """A tracker for all of these tests."""
    with fuzzed_tracker(tmp_path_factory.mktemp("fuzzed")) as running:
        yield running


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """A client that keeps its connection."""
    with requests.Session() as opened:
        yield opened


@schema.parametrize()
@settings(max_examples=EXAMPLES)
def test_every_answer_is_as_the_document_says(
    case: schemathesis.Case, tracker: FuzzedTracker, session: requests.Session
) -> None:
    """No failure of the tracker's own, no status, type, header or body that is not described, no wrong data taken."""
    route = BY_NAME[case.operation.label]
    for name, value in case.path_parameters.items():
        if value == VARIABLES[name].example:
            case.path_parameters[name] = tracker.ids.get(name, value)
    case.call_and_validate(
        base_url=tracker.url,
        session=session,
        headers=tracker.credentials(route),
        timeout=20,
    )
