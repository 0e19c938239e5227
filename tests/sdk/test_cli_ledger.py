import json
import subprocess
import sys
from pathlib import Path

import pytest
from gpunode import cli_ledger
from gpunode.cli import main
from gpunode.cli_ledger import credit_text
from gpunode.client import InferenceClient
from gpunode.proof_files import write_proof
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.receipt_checks import open_receipt
from gpunode_protocol.tracker_api import EntriesReply, OwnEntry

from tests.sdk.proofs import entry_of
from tests.sdk.world import HELLO, World


@pytest.fixture(autouse=True)
def _client_of_the_world(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands talk to the network in memory."""

    def open_client(*_: object, **__: object) -> InferenceClient:
        return InferenceClient.from_config(world.config(), world.surroundings())

    monkeypatch.setattr(cli_ledger, "open_client", open_client)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(world.folder)


def _receipt_id(proof: ReceiptProof) -> str:
    return open_receipt(proof.receipt).digest.hex()


def test_the_balance_in_credits(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Six places for people, micro-credits for programs."""
    world.tracker.spendable_microcredits = 1_234_567_890
    assert main(["ledger", "balance"]) == 0
    assert "1,234.567890 credits" in capsys.readouterr().out
    assert main(["ledger", "balance", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spendable_microcredits"] == 1_234_567_890
    assert credit_text(-1) == "-0.000001 credits"


def test_a_proof_is_fetched_and_checked(world: World, proof: ReceiptProof, capsys: pytest.CaptureFixture[str]) -> None:
    """proof writes the file, verify reads it; with an id, verify fetches first."""
    receipt = _receipt_id(proof)
    assert main(["ledger", "proof", receipt, "--out", "proof.json"]) == 0
    state = str(world.folder / "client")
    for source in ("proof.json", receipt):
        assert main(["ledger", "verify", source, "--json", "--state-dir", state]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["verified"], told["receipt"], told["log_index"]) == (True, receipt, 4)
    assert main(["ledger", "verify", "proof.json", "--root-key", world.keys.root.public_key.hex()]) == 0
    assert "Receipt verified" in capsys.readouterr().out


def test_a_proof_as_json_is_what_the_file_has(
    world: World, proof: ReceiptProof, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output may be kept and checked like the file; without either there is nothing to do."""
    receipt = _receipt_id(proof)
    assert main(["ledger", "proof", receipt, "--json"]) == 0
    (world.folder / "kept.json").write_text(capsys.readouterr().out, encoding="utf-8")
    root = world.keys.root.public_key.hex()
    assert main(["ledger", "verify", "kept.json", "--json", "--root-key", root]) == 0
    assert json.loads(capsys.readouterr().out)["node_id"] == world.nodes[0].peer_id
    assert main(["ledger", "proof", receipt]) == 2
    assert "--out FILE" in capsys.readouterr().err


def test_a_tampered_file_fails(world: World, proof: ReceiptProof, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and one line."""
    path = world.folder / "proof.json"
    write_proof(path, proof)
    path.write_text(path.read_text(encoding="utf-8").replace('"index": 4', '"index": 5'), encoding="utf-8")
    assert main(["ledger", "verify", str(path), "--root-key", world.keys.root.public_key.hex()]) == 1
    assert "not in the ledger" in capsys.readouterr().err


def test_what_is_neither_file_nor_id_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main(["ledger", "verify", "nothing"]) == 2
    assert "neither a file nor a receipt's id" in capsys.readouterr().err


async def test_entries_are_listed(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what the account paid; at 80 columns without what matters less."""
    world.add_node()
    async with world.client() as client:
        receipt = (await client.chat(messages=HELLO)).receipt
    entry = entry_of(world.keys, receipt.receipt, receipt.voucher)

    async def entries(**_: object) -> EntriesReply:
        return EntriesReply(entries=(OwnEntry(entry=entry, index=4),), next_cursor="9")

    monkeypatch.setattr(world.tracker, "entries", entries, raising=False)
    assert main(["ledger", "entries"]) == 0
    out = capsys.readouterr().out
    assert "settle" in out
    assert "-0.000190" in out
    assert receipt.id[:12] in out
    assert "--cursor 9" in out
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["ledger", "entries"]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "settle" in line)
    assert "…" not in row
    assert {entry.settled.model if entry.settled else "", "-0.000190", receipt.id[:12]} <= set(row.split())
    assert main(["ledger", "entries", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["next_cursor"] == "9"


def test_no_id_is_cut_at_80_columns(
    world: World, proof: ReceiptProof, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Long ids go on in the next line."""
    monkeypatch.setenv("COLUMNS", "80")
    write_proof(world.folder / "proof.json", proof)
    assert main(["ledger", "verify", "proof.json", "--root-key", world.keys.root.public_key.hex()]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert _receipt_id(proof) in "".join(line.split("│")[2].strip() for line in out.splitlines() if "│" in line)


def test_verifying_a_file_needs_no_network(world: World, proof: ReceiptProof, tmp_path: Path) -> None:
    """A process in which no socket can be made, and which imports no HTTP client."""
    path = tmp_path / "proof.json"
    write_proof(path, proof)
    code = f"""
import socket, sys
def refuse(*_, **__): raise AssertionError("no network here")
socket.socket.__init__ = socket.getaddrinfo = refuse
from gpunode.cli import main
code = main(["ledger", "verify", {str(path)!r}, "--json", "--root-key", "{world.keys.root.public_key.hex()}"])
assert "aiohttp" not in sys.modules and "hivemind" not in sys.modules
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["verified"] is True
