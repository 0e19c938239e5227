"""The document: routes, models, problems and what callers have to show, put together once at start."""

import inspect
import sys
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from gpunode_protocol.job_params import JOB_PARAMS_OF
from gpunode_protocol.jobs_api import JobSubmission
from gpunode_protocol.signing import WireModel
from gpunode_protocol.tracker_api import Problem
from gpunode_protocol.webhook_notices import SIGNATURE_HEADER, WebhookNotice

from gpunode_tracker.auth import WORKER_TOKEN_HEADER
from gpunode_tracker.openapi.parameters import ALL_REPLIES, BESIDE, REPLY_HEADERS, REQUEST_HEADERS, VARIABLES
from gpunode_tracker.openapi.route import Auth, Content, Route, SpecialProblem
from gpunode_tracker.openapi.schemas import Models, schemas_of
from gpunode_tracker.problems import CONTENT_TYPE
from gpunode_tracker.scopes import scope_of

OPENAPI_VERSION: Final = "3.1.0"

JsonObject = dict[str, Any]

_KEY: Final = "apiKey"
_TOKEN: Final = "workerToken"  # noqa: S105 -- the scheme's name
_SECURITY_SCHEMES: Final[JsonObject] = {
    _KEY: {"type": "http", "scheme": "bearer", "description": "An account's API key, `gpn_…`."},
    _TOKEN: {
        "type": "apiKey",
        "in": "header",
        "name": str(WORKER_TOKEN_HEADER),
        "description": "The token that a node or worker got when it registered.",
    },
}


def openapi_document(routes: Sequence[Route]) -> JsonObject:
    """Return the OpenAPI document of some routes.

    Raises:
        KeyError: a route has a variable or header that ``parameters`` does not know.
    """
    bodies = [route.body for route in routes if route.body is not None]
    models, schemas = schemas_of([*bodies, *JOB_PARAMS_OF.values()], [*_reply_models(routes), Problem, WebhookNotice])
    _tell_job_params(schemas, models)
    statuses = sorted({status for route in routes for status in route.problem_statuses})
    paths: dict[str, JsonObject] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, models)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "gpunode tracker",
            "version": version("gpunode"),
            "summary": "Accounts, jobs, workers, nodes and the ledger of a network of GPUs.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": _tags(routes),
        "paths": paths,
        "webhooks": {"jobEnded": {"post": _webhook(models)}},
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {_problem_name(status): _problem_reply(status, models) for status in statuses},
            "headers": dict(REPLY_HEADERS),
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _tell_job_params(schemas: JsonObject, models: Models) -> None:
    """Say what may stand in ``params``, where the model says only that it is an object: ``type`` decides which.

    What is null there counts as left out, see ``read_job_params``.
    """
    submission = schemas.get(JobSubmission.__name__)
    if submission is None:
        return
    kinds = [models[model, "validation"] for model in JOB_PARAMS_OF.values()]
    submission["properties"]["params"] = {"anyOf": kinds}
    for kind in kinds:
        schema = schemas[kind["$ref"].rpartition("/")[2]]
        required = schema.get("required", ())
        schema["properties"] = {
            name: value if name in required else _or_null(value) for name, value in schema["properties"].items()
        }


def _or_null(schema: JsonObject) -> JsonObject:
    null = {"type": "null"}
    return schema if null in schema.get("anyOf", ()) else {"anyOf": [schema, null]}


def summary_of(route: Route) -> str:
    """Return what the first line of the handler's docstring says after ``METHOD /path: ``, as a sentence's start."""
    told = _docstring(route).partition("\n")[0].partition(": ")[2]
    return told[:1].upper() + told[1:]


def _docstring(route: Route) -> str:
    return inspect.getdoc(route.handler) or ""


def _operation(route: Route, models: Models) -> JsonObject:
    operation: JsonObject = {
        "operationId": f"{_tag(route)}_{route.handler.__name__}",
        "tags": [_tag(route)],
        "summary": summary_of(route),
    }
    more = _docstring(route).partition("\n")[2].strip()
    if more:
        operation["description"] = more
    if parameters := [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = models[route.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    operation["responses"] = {str(status): _reply(route, status, models) for status in route.replies}
    for status in route.problem_statuses:
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{_problem_name(status)}"}
    operation["security"] = _security(route)
    return operation


def _path_parameters(route: Route) -> list[JsonObject]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": VARIABLES[name].about,
            "schema": {"type": "string", "pattern": VARIABLES[name].pattern, "examples": [VARIABLES[name].example]},
        }
        for name in route.variables
    ]


def _query_parameters(route: Route) -> list[JsonObject]:
    return [
        {
            "name": query.name,
            "in": "query",
            "required": query.required,
            "description": query.about,
            "schema": dict(query.schema),
        }
        for query in route.query
    ]


def _header_parameters(route: Route) -> list[JsonObject]:
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": REQUEST_HEADERS[name]["about"],
            "schema": REQUEST_HEADERS[name]["schema"],
        }
        for name in route.headers
    ]


def _webhook(models: Models) -> JsonObject:
    """Describe what the tracker itself sends, to the ``webhook`` of a job."""
    schema = models[WebhookNotice, "serialization"]
    return {
        "summary": "A job has ended",
        "description": "Sent to the job's `webhook`, again with growing pauses until it is answered with 2xx.",
        "parameters": [
            {
                "name": SIGNATURE_HEADER,
                "in": "header",
                "required": True,
                "description": "HMAC-SHA-256 of `<t>.<body>` with the job's `webhook_secret`.",
                "schema": {"type": "string", "pattern": "^t=[0-9]+,v1=[0-9a-f]{64}$"},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"2XX": {"description": "It has arrived."}, "default": {"description": "It comes again."}},
    }


def _reply(route: Route, status: int, models: Models) -> JsonObject:
    reply, headers = route.replies[status], _headers(status, *route.reply_headers.get(status, ()))
    described: JsonObject = {"description": HTTPStatus(status).phrase, "headers": headers}
    if isinstance(reply, Content):
        described["content"] = {reply.media_type: {"schema": dict(reply.schema)}}
    elif isinstance(reply, SpecialProblem):
        described["content"] = {CONTENT_TYPE: {"schema": models[reply.model, "serialization"]}}
    elif reply is not None:
        described["content"] = {"application/json": {"schema": models[reply, "serialization"]}}
    return described


def _problem_reply(status: int, models: Models) -> JsonObject:
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(status),
        "content": {CONTENT_TYPE: {"schema": models[Problem, "serialization"]}},
    }


def _problem_name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "").replace("-", "")


def _headers(status: int, *others: str) -> JsonObject:
    names = (*ALL_REPLIES, *BESIDE.get(status, ()), *others)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _security(route: Route) -> list[JsonObject]:
    key: JsonObject = {_KEY: [str(scope_of(route.path))]}
    token: JsonObject = {_TOKEN: []}
    return {
        Auth.NOTHING: [],
        Auth.OPTIONAL: [{}, key, token],
        Auth.KEY: [key],
        Auth.WORKER: [token],
        Auth.KEY_OR_WORKER: [key, token],
    }[route.auth]


def _reply_models(routes: Iterable[Route]) -> list[type[WireModel]]:
    replies = (reply for route in routes for reply in route.replies.values())
    models = (reply.model if isinstance(reply, SpecialProblem) else reply for reply in replies)
    return [model for model in models if model is not None and not isinstance(model, Content)]


def _tag(route: Route) -> str:
    return route.handler.__module__.rpartition(".")[2]


def _tags(routes: Iterable[Route]) -> list[JsonObject]:
    """Return the groups of routes: the handlers' modules, with what each says of itself."""
    modules = dict.fromkeys(route.handler.__module__ for route in routes)
    return [
        {"name": name.rpartition(".")[2], "description": (inspect.getdoc(sys.modules[name]) or "").partition("\n")[0]}
        for name in modules
    ]
