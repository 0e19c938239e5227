"""Secrets are planted through the whole API, at the log level debug; none comes out in a log or a refusal.

Every route of the URL table is called with right, wrong and missing credentials, with secrets in its path, query,
headers and body, and with a database that fails in ways nobody foresaw.
"""

import asyncio
import io
import itertools
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from gpunode.log_setup import LogFormat, LogLevel, configure_logging
from gpunode_protocol import admin_api, jobs_api, tracker_api
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import Identity
from gpunode_protocol.signing import WireModel
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.daemon import silence_http_server
from gpunode_tracker.limits import Budget, Limits
from gpunode_tracker.problems import CONTENT_TYPE
from gpunode_tracker.rates import Rate
from gpunode_tracker.routes import ROUTES
from gpunode_tracker.scopes import Scope
from gpunode_tracker.tracker import Tracker
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.tracker.audit_log import entries
from tests.tracker.conftest import World
from tests.tracker.pull_workers import CHAT, pull_worker

ANSWER = "then it is hippopotomonstrosesquippedaliophobia"
PROMPT = "my diagnosis is pneumoultramicroscopic"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WRONG_KEY = "gpn_wrong-0123456789-0123456789-0123456789"
WRONG_TOKEN = "gpw_wrong-0123456789-0123456789-0123456789"
PASSWORD = "hunter2-hunter2"
MANY = {budget: Rate(per_minute=10_000_000, burst=1_000_000) for budget in Budget}


@dataclass
class Spy:
    """What was written to the log, as people and as programs read it, and what refusals said."""

    human: io.StringIO = field(default_factory=io.StringIO)
    machine: io.StringIO = field(default_factory=io.StringIO)
    sentences: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def found(self, secrets: dict[str, str]) -> set[tuple[str, str]]:
        """Return which secrets came out where."""
        told = {
            "log for people": self.human.getvalue(),
            "log for programs": self.machine.getvalue(),
            "sentence of a record": "\n".join(self.sentences),
            "problem": "\n".join(self.problems),
        }
        return {(name, where) for name, secret in secrets.items() for where, text in told.items() if secret in text}


class _Sentences(logging.Handler):
    def __init__(self, spy: Spy) -> None:
        super().__init__()
        self._spy = spy

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the sentence and the fields, before anything is cut out of them; not the traceback."""
        fields = {name: value for name, value in vars(record).items() if name != "exc_info"}
        self._spy.sentences.append(f"{record.getMessage()} {fields}")


@pytest.fixture
def spy() -> Iterator[Spy]:
    """The log as the command ``gpunode --log-level debug`` writes it, in both formats."""
    made, root = Spy(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    libraries = [logging.getLogger(name) for name in ("aiohttp.server", "aiohttp.access")]
    levels = [library.level for library in libraries]
    configure_logging(LogFormat.HUMAN, LogLevel.DEBUG, made.human)
    human = root.handlers[:]
    configure_logging(LogFormat.JSON, LogLevel.DEBUG, made.machine)
    root.handlers[:] = [*root.handlers, *human, _Sentences(made)]
    silence_http_server()
    yield made
    root.handlers[:] = handlers
    root.setLevel(level)
    for library, library_level in zip(libraries, levels, strict=True):
        library.setLevel(library_level)
    logging.captureWarnings(capture=False)


@dataclass
class Planted:
    """Real secrets of a tracker, and how each is shown to it."""

    key: str
    admin_key: str
    token: str

    @property
    def all(self) -> dict[str, str]:
        """All secrets by name, made-up ones too."""
        return {
            "API key": self.key,
            "admin key": self.admin_key,
            "worker token": self.token,
            "wrong key": WRONG_KEY,
            "wrong token": WRONG_TOKEN,
            "webhook secret": WEBHOOK_SECRET,
            "prompt": PROMPT,
            "password": PASSWORD,
        }

    @property
    def credentials(self) -> list[dict[str, str]]:
        """Headers: none, right ones, wrong ones."""
        return [
            {},
            {"Authorization": f"Bearer {self.key}"},
            {"Authorization": f"Bearer {self.admin_key}"},
            {"Authorization": f"Bearer {WRONG_KEY}"},
            {"X-Worker-Token": self.token},
            {"X-Worker-Token": WRONG_TOKEN},
        ]


async def _plant(world: World) -> Planted:
    _, key = await world.account()
    registered = await world.register(Identity.generate())
    return Planted(key, await world.key(*Scope), registered.token)


def _models() -> list[type[WireModel]]:
    modules = (tracker_api, jobs_api, admin_api)
    values = itertools.chain.from_iterable(vars(module).values() for module in modules)
    return [value for value in values if isinstance(value, type) and issubclass(value, WireModel)]


def _bodies(secret: str) -> list[str]:
    """Return bodies that hold a secret, or a prompt, in every field that any call has; and one that is no JSON."""
    fields = {name for model in _models() for name in model.model_fields}
    prompts = {"params": {"messages": [{"role": "user", "content": PROMPT}], "prompt": PROMPT}, "text": PROMPT}
    url = f"https://me:{PASSWORD}@hooks.example/{WEBHOOK_SECRET}"
    job = {"type": "llm", "webhook": url, "result": {"response": PROMPT}, "error": PROMPT, "success": True}
    return [
        json.dumps(dict.fromkeys(fields, secret) | prompts | job),
        json.dumps({"type": "llm", "params": PROMPT, "reason": secret, "name": secret, "attempt": 1} | prompts),
        f'{{"params": "{PROMPT}", "api_key": "{secret}"',
    ]


async def _call_everything(world: World, planted: Planted, spy: Spy, *, step: int) -> set[int]:
    """Call every route in many ways, or in every ``step``-th of them; return the statuses."""
    statuses = set()
    headers = {"Content-Type": "application/json", "Idempotency-Key": planted.key, "X-Request-ID": planted.token}
    for number, route in enumerate(ROUTES):
        secret = planted.key
        path = route.path
        while "{" in path:
            path = path[: path.index("{")] + secret + path[path.index("}") + 1 :]
        query = f"?cursor={secret}&limit={secret}&kind={secret}&subject={secret}&region={secret}&timeout={secret}"
        ways = itertools.product((path, path + query), planted.credentials, _bodies(secret))
        for target, credentials, body in itertools.islice(ways, number % step, None, step):
            async with asyncio.timeout(20):
                response = await world.http.request(route.method, target, data=body, headers=headers | credentials)
                statuses.add(response.status)
                if response.content_type == CONTENT_TYPE:
                    spy.problems.append(await response.text() + str(dict(response.headers)))
                response.close()
    return statuses


@pytest.mark.parametrize("limits", [Limits(rates=MANY)])
async def test_secrets_in_requests(limited: World, spy: Spy) -> None:
    """In every place of every call, served or refused."""
    planted = await _plant(limited)
    statuses = await _call_everything(limited, planted, spy, step=5)
    assert {200, 401, 403, 404, 422} <= statuses
    assert 500 not in statuses
    spy.problems += [str(entry) for entry in await entries(limited.tracker.database)]  # the audit log too
    assert spy.found(planted.all) == set()


async def test_secrets_of_a_job_that_is_done(world: World, spy: Spy) -> None:
    """From its submission to the reading of its result: of what was asked and answered only its client is told."""
    _, key = await world.account()
    worker = await pull_worker(world)
    await worker.heartbeat()
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": WEBHOOK_SECRET}
    chat = {"type": "llm", "params": CHAT | {"messages": [{"role": "user", "content": PROMPT}]}}
    submitted = await world.http.post(jobs_api.JOBS_PATH, json=chat, headers=headers)
    assert submitted.status == 202, await submitted.text()
    job = await worker.next_job()
    assert job.job_id == (await submitted.json())["job_id"]
    assert PROMPT in str(job.params)
    told = await worker.tell(job.job_id, attempt=1, text=ANSWER)
    assert told.status == 204, await told.text()
    usage = {"prompt_tokens": 5, "completion_tokens": 9}
    await worker.complete(job.job_id, success=True, result={"response": ANSWER, "usage": usage}, processing_time=0.5)
    done = await world.http.get(jobs_api.JOB_PATH.format(job=job.job_id), headers=headers)
    assert (await done.json())["result"]["response"] == ANSWER
    spy.problems += [str(entry) for entry in await entries(world.tracker.database)]  # the audit log too
    secrets = {"API key": key, "worker token": worker.token, "prompt": PROMPT, "answer": ANSWER}
    assert spy.found(secrets | {"idempotency key": WEBHOOK_SECRET}) == set()
    logging.getLogger("gpunode_tracker").debug("asked: %s", PROMPT)  # the spy would have seen it
    assert len(spy.found(secrets)) == 3


class _Checked(WireModel):
    number: int


def _failures(planted: Planted) -> list[Callable[[], object]]:
    """Return what raises errors that hold what they could not use; each time a new one, as real ones are."""
    values = {"secret": planted.key, "prompt": PROMPT}

    def fail(kind: Callable[..., Exception], *arguments: Any, **more: Any) -> Callable[[], object]:
        def act() -> object:
            raise kind(*arguments, **more)

        return act

    return [
        fail(RuntimeError, f"cannot use {planted.key} at postgresql://me:{PASSWORD}@db/x"),
        fail(KeyError, planted.token),
        lambda: _Checked.model_validate({"number": PROMPT}),
        fail(IntegrityError, "INSERT", values, Exception("UNIQUE constraint failed"), hide_parameters=True),
        fail(OperationalError, "SELECT", values, Exception("disk full"), hide_parameters=True),
    ]


@dataclass
class _Failing:
    """A transaction that never begins."""

    fail: Callable[[], object]

    async def __aenter__(self) -> None:
        self.fail()

    async def __aexit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("limits", [Limits(rates=MANY)])
async def test_secrets_and_failures_that_nobody_foresaw(
    limited: World, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database fails with errors that hold what they could not use."""
    planted = await _plant(limited)
    database = limited.tracker.database
    for fail in _failures(planted):
        with monkeypatch.context() as patched:
            for name in ("read", "write"):
                patched.setattr(database, name, lambda fail=fail: _Failing(fail))
            statuses = await _call_everything(limited, planted, spy, step=11)
        assert 500 in statuses
    assert "Unexpected failure" in spy.human.getvalue()
    assert "RuntimeError: cannot use gpn_" in spy.human.getvalue()
    assert spy.found(planted.all) == set()


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: x\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"X-Bad\x00: y\r\n\r\n",
        b"X-Long: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_secrets_in_requests_that_cannot_be_read(world: World, spy: Spy, rest: bytes) -> None:
    """The server itself refuses them, with what it could not read."""
    planted = await _plant(world)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.http.server.port)
    head = f"POST {tracker_api.GRANTS_PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    writer.write(f"{head}Authorization: Bearer {planted.key}\r\n".encode() + rest)
    spy.problems.append((await reader.read()).decode(errors="replace"))
    writer.close()
    assert " 400 Bad Request" in spy.problems[-1]
    assert spy.found(planted.all) == set()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/gpunode",
        f"postgresql://me:{PASSWORD}@127.0.0.1:port/gpunode",
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/gpunode?bogus=1",
        f"oracle://me:{PASSWORD}@127.0.0.1/gpunode",
        f"me:{PASSWORD}",
    ],
)
async def test_the_databases_password(url: str, settings: TrackerSettings, spy: Spy) -> None:
    """It does not come out when the database is away, or its URL cannot be used, nor with --debug's traceback."""

    async def start() -> None:
        given = {"data_dir": settings.data_dir, "mesh": False, "database_url": url}
        await Tracker.open(TrackerSettings.load(given))

    with pytest.raises(GpunodeError) as caught:
        await start()
    spy.problems += [str(caught.value), "".join(traceback.format_exception(caught.value))]
    logging.getLogger("gpunode").error("%s", caught.value, exc_info=caught.value)
    assert spy.found({"password": PASSWORD}) == set()
