"""``gpunode jobs``: what it sends, what it prints, how it ends."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from gpunode.cli import main
from gpunode.cli_jobs import job_params
from gpunode_protocol.jobs_api import JobView
from gpunode_protocol.tracker_api import Problem

from tests.sdk.queue_server import JOB, RESULT, QueueServer, queue_server, view

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QueueServer]:
    """The tracker that the commands talk to, by the environment."""
    with queue_server() as served:
        monkeypatch.setenv("GPUNODE_TRACKER", served.url)
        monkeypatch.setenv("GPUNODE_API_KEY", "secret")
        monkeypatch.setenv("GPUNODE_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.chdir(tmp_path)
        yield served


def run(*arguments: str) -> int:
    """Run one command line."""
    return main(["jobs", *arguments])


def test_submitting_prints_the_id(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else on standard output, so that a script can keep it; what the tracker notes stands beside."""
    assert run("submit", "llm", "--prompt", "Hello", "--within", "asia", "--priority", "3", "--model", "small") == 0
    told = capsys.readouterr()
    assert (told.out, "No live worker." in told.err) == (f"{JOB}\n", True)
    wishes = {"region": "asia", "priority": 3, "model": "small"}
    assert server.bodies == [{"type": "llm", "params": HELLO} | wishes]


def test_a_ticket_as_json(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """As the tracker gave it."""
    assert run("submit", "embedding", "--prompt", "one", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"job_id": JOB, "status": "queued", "note": "No live worker."}
    assert server.bodies[0]["params"] == {"input": "one"}


def test_submitting_and_waiting(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the answer."""
    assert run("submit", "llm", "--prompt", "Hello", "--wait") == 0
    assert capsys.readouterr().out == "Hi!\n"
    assert [path for _, path in server.asked[1:]] == [f"/api/v1/jobs/{JOB}/events", f"/api/v1/jobs/{JOB}"]


@pytest.mark.parametrize(
    ("task", "options", "expected"),
    [
        ("llm", {"prompt": "Hello"}, HELLO),
        ("llm", {"prompt": "Hello", "params": '{"max_tokens": 5}'}, HELLO | {"max_tokens": 5}),
        (
            "llm",
            {"prompt": "b", "params": '{"messages": [{"role": "system", "content": "a"}]}'},
            {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]},
        ),
        ("image_gen", {"prompt": "a seven", "file": Path("x.png")}, {"prompt": "a seven", "image": Path("x.png")}),
        ("whisper", {"file": Path("x.wav")}, {"audio": Path("x.wav")}),
        ("embedding", {"prompt": "one"}, {"input": "one"}),
        ("poem", {"params": "{}"}, {}),
    ],
)
def test_options_become_parameters(task: str, options: dict[str, Any], expected: dict[str, Any]) -> None:
    """Of each type its own; what --params says is kept."""
    assert job_params(task, **{"prompt": None, "file": None, "params": None, **options}) == expected


@pytest.mark.parametrize(
    ("task", "options", "named"),
    [
        ("whisper", {"prompt": "x"}, "--prompt says nothing to whisper"),
        ("llm", {"file": Path("x")}, "--file says nothing to llm"),
        ("llm", {"params": "{"}, "not JSON"),
        ("llm", {"params": "[]"}, "JSON object"),
        ("llm", {"params": "@nothing.json"}, "nothing.json cannot be read"),
    ],
)
def test_options_that_mean_nothing(task: str, options: dict[str, Any], named: str) -> None:
    """Refused before anything is sent."""
    with pytest.raises(typer.BadParameter, match=named):
        job_params(task, **{"prompt": None, "file": None, "params": None, **options})


def test_parameters_from_a_file(server: QueueServer) -> None:
    """Long ones need no quoting."""
    Path("p.json").write_text(json.dumps(HELLO))
    assert run("submit", "llm", "--params", "@p.json") == 0
    assert server.bodies[0]["params"] == HELLO


def test_out_needs_a_result(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --wait there is none; a folder that is not there is noticed before anything is paid for."""
    assert run("submit", "llm", "--prompt", "x", "--out", "a.txt") == 2
    assert run("submit", "llm", "--prompt", "x", "--wait", "--out", "no/a.txt") == 2
    assert "there is no folder" in capsys.readouterr().err
    assert server.asked == []


def test_showing_a_job(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """All that is known, each attempt's failure too; strangers' text cannot rewrite the terminal."""
    server.job = view(attempts=2, failures=("out of \x1b[31mmemory",))
    assert run("show", JOB) == 0
    told = capsys.readouterr().out
    assert all(part in told for part in (JOB, "completed", "worker:w1", "Hi!", "attempt 1", "2025-06-15 15:06:40"))
    assert "\x1b[31m" not in told
    assert run("show", JOB, "--json") == 0
    assert JobView.model_validate_json(capsys.readouterr().out) == server.job


def test_a_result_into_a_file(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Text, or pictures."""
    assert run("show", JOB, "--out", "answer.txt") == 0
    assert Path("answer.txt").read_text() == "Hi!\n"
    picture = {"data": base64.b64encode(b"\x89PNG").decode(), "media_type": "image/png"}
    server.job = view(type="image_gen", result={"images": [picture, picture], "usage": {}})
    assert run("wait", JOB, "--out", "seven.png") == 0
    assert [Path(f"seven-{number}.png").read_bytes() for number in (1, 2)] == [b"\x89PNG"] * 2
    assert "Wrote seven-2.png" in capsys.readouterr().err


def test_listing(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that says how to go on, or JSON."""
    assert run("list", "--status", "completed", "--type", "llm", "--limit", "1") == 0
    told = capsys.readouterr().out
    assert all(part in told for part in (JOB, "completed", "4 s", "worker:w1", f"--cursor {JOB}"))
    assert server.asked == [("GET", "/api/v1/jobs?status=completed&type=llm&limit=1")]
    assert run("list", "--json") == 0
    assert json.loads(capsys.readouterr().out)["jobs"][0]["job_id"] == JOB


def test_cancelling(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Says so."""
    assert run("cancel", JOB) == 0
    assert capsys.readouterr().out == f"Cancelled {JOB}.\n"
    assert run("cancel", JOB, "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "cancelled"
    assert server.asked[0] == ("DELETE", f"/api/v1/jobs/{JOB}")


def test_waiting_for_the_result(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The text alone on standard output, or the whole job as JSON."""
    server.streams = [[("queued", {"position": 0}), ("running", {"attempt": 1}), ("done", {"status": "completed"})]]
    assert run("wait", JOB) == 0
    assert capsys.readouterr().out == "Hi!\n"
    assert run("wait", JOB, "--json") == 0
    assert json.loads(capsys.readouterr().out)["result"] == RESULT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "failed", "error": "no \x1bmemory", "attempts": 3}, "failed after 3 attempts: no memory"),
        ({"status": "cancelled"}, "was cancelled"),
    ],
)
def test_jobs_that_ended_otherwise(
    server: QueueServer, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], words: str
) -> None:
    """One line and exit code 1."""
    server.job = view(result=None, **changes)
    assert run("wait", JOB) == 1
    told = capsys.readouterr()
    assert (told.out, words in told.err) == ("", True)


def test_a_job_that_does_not_end_in_time(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes on, and the command says so."""
    server.streams = [[("queued", {"position": 0})]]
    assert run("wait", JOB, "--timeout", "0") == 1
    assert "it goes on" in capsys.readouterr().err


def test_a_refusal_is_one_line(server: QueueServer, capsys: pytest.CaptureFixture[str]) -> None:
    """With the tracker's words."""
    server.problem = Problem(title="", status=404, detail="There is no such job of yours.", code="not_found")
    assert run("show", JOB) == 1
    assert "no such job of yours" in capsys.readouterr().err
