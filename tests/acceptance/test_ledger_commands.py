"""The ledger, as its users check it."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.network import Network
from tests.acceptance.processes import clean_environment, json_of, wait_until

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def proof(network: Network) -> Path:
    """Return the file with the proof of a fresh receipt."""
    answer = json_of(network.command("chat", "Hello", "--max-tokens", "4", "--json"))
    file = network.folder / "proof.json"
    command = ("ledger", "proof", answer["receipt"]["id"], "--out", str(file))
    wait_until(lambda: network.command(*command).returncode == 0, "the ledger has the receipt")
    return file


def test_balance(network: Network, proof: Path) -> None:
    """What is free and what grants hold."""
    assert proof.exists()
    balance = json_of(network.command("ledger", "balance", "--json"))
    assert balance["account"] == network.account
    assert 0 < balance["reserved_microcredits"] < 1_000_000_000
    assert 0 < balance["spendable_microcredits"] < 1_000_000_000
    assert network.account in network.command("ledger", "balance").stdout


def test_entries(network: Network, proof: Path) -> None:
    """Newest first, page by page, with their places in the log."""
    assert proof.exists()
    page = json_of(network.command("ledger", "entries", "--json", "--limit", "1"))
    older = json_of(network.command("ledger", "entries", "--json", "--limit", "1", "--cursor", page["next_cursor"]))
    indices = [own["index"] for own in (*page["entries"], *older["entries"])]
    assert len(indices) == 2
    assert indices == sorted(indices, reverse=True)
    assert {"settle", "reserve"} >= {own["entry"]["kind"] for own in page["entries"]}
    assert "settle" in network.command("ledger", "entries").stdout


def test_verify_by_id(network: Network, proof: Path) -> None:
    """With a network, the receipt's id is enough."""
    receipt = json_of(network.command("ledger", "verify", str(proof), "--json"))["receipt"]
    assert json_of(network.command("ledger", "verify", receipt, "--json"))["receipt"] == receipt


#: Runs the command where every socket is refused; the last line of standard error says so if one was asked for.
_WITHOUT_SOCKETS = """
import socket, sys

class Refused(socket.socket):
    def __init__(self, *_, **__):
        raise PermissionError(1, "this process has no network")

socket.socket = socket.SocketType = Refused
from gpunode.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_verify_without_network(network: Network, proof: Path) -> None:
    """A process that can open no socket at all checks the file against the pinned root key; by id it needs one."""

    def verify(what: str) -> subprocess.CompletedProcess[str]:
        home = network.folder / "cli"
        return subprocess.run(
            [sys.executable, "-c", _WITHOUT_SOCKETS, "ledger", "verify", what, "--json", "--tracker", network.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=clean_environment(home) | {"GPUNODE_STATE_DIR": str(home)},
            cwd=home,
        )

    facts = json_of(verify(str(proof)))
    assert facts["verified"]
    by_id = verify(facts["receipt"])
    assert by_id.returncode != 0
    assert "this process has no network" in by_id.stderr


def test_verify_against_a_given_root_key(network: Network, proof: Path) -> None:
    """Who never used the network needs its root key; another network's is refused."""
    root = network.tracker_command("show")["root_public_key"]
    facts = json_of(network.command("ledger", "verify", str(proof), "--root-key", root, "--json", state="nobody"))
    assert facts["verified"]
    wrong = network.command("ledger", "verify", str(proof), "--root-key", "0" * 64, state="nobody")
    assert wrong.returncode == 1


def _flip(text: str) -> str:
    """Change one bit of a text that stands for bytes."""
    data = bytearray(base64.urlsafe_b64decode(text))
    data[len(data) // 2] ^= 1
    return base64.urlsafe_b64encode(data).decode()


def _tampered(value: dict[str, Any], part: str) -> dict[str, Any]:
    if part == "path":
        return value | {"path": [_flip(value["path"][0]), *value["path"][1:]]}
    if part == "index":
        return value | {"index": value["index"] ^ 1}
    if part == "entry":
        return value | {"entry": _flip(value["entry"])}
    envelope, _, field = part.partition(".")
    return value | {envelope: value[envelope] | {field: _flip(value[envelope][field])}}


@pytest.mark.parametrize("part", ["receipt.body", "voucher.signature", "entry", "path", "index", "head.body"])
def test_a_tampered_proof_fails(network: Network, proof: Path, part: str) -> None:
    """One changed bit anywhere, and the command says no in one line."""
    file = network.folder / "tampered.json"
    file.write_text(json.dumps(_tampered(json.loads(proof.read_text()), part)))
    result = network.command("ledger", "verify", str(file))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "verif" in result.stderr or "ledger" in result.stderr


@pytest.mark.full
def test_the_proof_of_a_strangers_receipt(network: Network, proof: Path) -> None:
    """Receipts are shown to their payer and their node only."""
    receipt = json_of(network.command("ledger", "verify", str(proof), "--json"))["receipt"]
    account = network.tracker_command("create-account", "stranger")["account"]
    key = network.tracker_command("create-key", account)["api_key"]
    out = network.folder / "stolen.json"
    result = network.command("ledger", "proof", receipt, "--out", str(out), GPUNODE_API_KEY=key)
    assert result.returncode == 1
    assert not out.exists()
