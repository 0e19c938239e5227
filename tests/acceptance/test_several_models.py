"""One node with four models at once: every kind of work, one engine's death, and its owner's pause."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from gpunode import InferenceClient, NoNodeFound
from gpunode_protocol.jobs_api import JOB_PATH, JOBS_PATH, JobSubmission
from gpunode_protocol.regions import Region

from tests.acceptance.network import Network, status_of, wait_settled
from tests.acceptance.processes import Daemon, json_of, run_gpunode, wait_gone, wait_until
from tests.acceptance.queued_work import every_kind
from tests.engines.speech_samples import TEXT, spoken, word_error_rate

pytestmark = pytest.mark.acceptance

REGION = "africa"
CHAT, OTHERS = "smollm2-135m", ("all-minilm-l6-v2", "whisper-tiny.en", "digits-diffusion")
TASK_OF = {CHAT: "llm", "all-minilm-l6-v2": "embedding", "whisper-tiny.en": "whisper", "digits-diffusion": "image_gen"}
STORY = [{"role": "user", "content": "Tell me a long story about a fox."}]
MIB = 1024 * 1024
_SPREAD_BYTES = 64 * MIB
"""By how much two nodes' own memory may differ for other reasons than their engines, of which four take over 1 GB."""


@pytest.fixture(scope="module")
def several(network: Network) -> Iterator[Daemon]:
    """Return such a node, the only one in its region and the only one with three of the models."""
    models = [part for model in OTHERS for part in ("--model", model)]
    node = network.add_node(REGION, *models, name="several")
    try:
        node.wait_ready()
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a spoken text."""
    return spoken(TEXT, tmp_path_factory.mktemp("speech") / "speech.wav")


def _engines(node: Daemon) -> list[psutil.Process]:
    return [child for child in node.family() if "gpunode_engines.worker" in child.cmdline()]


def _engine_with(node: Daemon, file: str) -> psutil.Process:
    """Return the engine that has a model's file in its memory."""
    return next(
        engine for engine in _engines(node) if any(file in mapped.path for mapped in engine.memory_maps(grouped=True))
    )


def _command(node: Daemon, name: str) -> dict[str, object]:
    return json_of(run_gpunode(name, "--json", "--data-dir", str(node.data_dir), home=node.data_dir))


def _serves(client: InferenceClient, model: str, node: Daemon) -> bool:
    """Whether a client finds this node; one of another test may still be known in the region for a while."""
    found = client.nodes(model=model, task=TASK_OF[model], region=REGION)
    return any(info.node == node.run["peer_id"] for info in found)


def test_all_four_kinds_of_work(several: Daemon, client: InferenceClient, speech: Path) -> None:
    """Models that no request names are the network's defaults; each receipt is this node's, verified and settled."""
    chat = client.chat(messages=STORY, region=REGION, max_tokens=8, temperature=0)
    embedding = client.embed(["a cat", "a kitten", "the stock market"], region=REGION)
    transcript = client.transcribe(speech, region=REGION)
    image = client.generate_image("a handwritten seven", region=REGION, seed=1)
    results = (chat, embedding, transcript, image)
    assert [result.model for result in results] == [CHAT, *OTHERS]
    assert {result.route.node for result in results} == {several.run["peer_id"]}
    for result in results:
        assert result.receipt.receipt.body.model == result.model
        assert len(wait_settled(client, result.job)) == 1
    cat, kitten, market = embedding.vectors
    assert sum(map(float.__mul__, map(float, cat), map(float, kitten))) > sum(
        map(float.__mul__, map(float, cat), map(float, market))
    )
    assert word_error_rate(TEXT, transcript.text) <= 0.25
    assert image.images


def test_all_other_kinds_through_the_queue(several: Daemon, network: Network, tmp_path: Path) -> None:
    """Plain HTTP in and out; the tracker sends the jobs to this node, whose receipts the ledger has."""
    works = every_kind(tmp_path)
    tickets = []
    for work in works:
        status, ticket = network.call("POST", JOBS_PATH, JobSubmission(**work.submission, region=Region(REGION)))
        assert status == 202, ticket
        tickets.append(ticket["job_id"])
    for work, job_id in zip(works, tickets, strict=True):
        job = wait_until(lambda job_id=job_id: _ended(network, job_id), f"the {work.type} has ended")
        assert (job["status"], job["served_by"], job["attempts"]) == ("completed", f"node:{several.run['peer_id']}", 1)
        work.check(job["result"])
        assert job["receipt"]


def _ended(network: Network, job_id: str) -> Any:
    status, job = network.call("GET", JOB_PATH.format(job=job_id))
    assert status == 200, job
    return None if job["status"] in {"queued", "running"} else job


def test_the_nodes_own_memory_does_not_grow_with_its_engines(several: Daemon, network: Network) -> None:
    """The process of a node with four engines is about as large as that of a node with one."""
    four, one = (psutil.Process(node.process.pid).memory_info().rss for node in (several, network.nodes["asia"]))
    assert four - one < _SPREAD_BYTES, f"{four // MIB} MiB with four engines, {one // MIB} MiB with one"


@pytest.mark.full
def test_the_death_of_one_engine_is_no_other_ones_affair(
    several: Daemon, client: InferenceClient, speech: Path
) -> None:
    """Its job goes on when it is back, and the route says why it broke off; a transcription meanwhile is finished."""
    with (
        ThreadPoolExecutor(1) as pool,
        client.chat(messages=STORY, region=REGION, max_tokens=400, temperature=0, stream=True) as chunks,
    ):
        next(chunks)
        transcription = pool.submit(client.transcribe, speech, region=REGION)
        wait_until(
            lambda: any(model["active"] for model in status_of(several)["models"] if model["task"] == "whisper"),
            "the transcription runs",
        )
        _engine_with(several, "SmolLM2").kill()
        list(chunks)
        assert "SIGKILL" in chunks.result.route.segments[0].ended
        assert word_error_rate(TEXT, transcription.result().text) <= 0.25
    wait_until(lambda: all(model["healthy"] for model in status_of(several)["models"]), "the engine is back")
    assert client.chat(messages=STORY, region=REGION, max_tokens=4).usage.completion_tokens == 4
    models = {model["name"]: model for model in status_of(several)["models"]}
    assert {name: model["restarts"] for name, model in models.items()} == {CHAT: 1} | dict.fromkeys(OTHERS, 0)
    assert models[CHAT]["slots"] == 4


@pytest.mark.full
def test_a_paused_node_gives_everything_back_until_it_resumes(
    several: Daemon, client: InferenceClient, network: Network
) -> None:
    """Nobody finds it, no engine runs, the process lives; then clients find it again and all models serve."""
    engines = _engines(several)
    assert len(engines) == 4
    assert _command(several, "pause")["reasons"]
    wait_until(lambda: status_of(several)["pause"]["state"] == "paused", "the node is paused")
    wait_gone(engines)
    with InferenceClient(network.url, api_key=network.api_key, state_dir=network.folder / "newcomer") as newcomer:
        for model in (CHAT, *OTHERS):
            wait_until(lambda model=model: not _serves(newcomer, model, several), f"nobody finds {model}")
    with pytest.raises(NoNodeFound):  # this one remembers the node, and is refused
        client.embed(["a cat"])
    shown = run_gpunode("status", "--data-dir", str(several.data_dir), home=several.data_dir)
    assert "no model is in memory" in shown.stdout
    _command(several, "resume")
    for model in (CHAT, *OTHERS):
        wait_until(lambda model=model: _serves(client, model, several), f"{model} is found")
    assert client.embed(["a cat"]).route.node == several.run["peer_id"]
    wait_until(lambda: len(_engines(several)) == 4, "all models are in memory")
