"""``gpunode ledger …``: balance, entries, and receipts that anyone can check."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gpunode.cli_options import (
    ApiKeyFileOption,
    CaFileOption,
    InsecureOption,
    JsonOption,
    StateDirOption,
    TrackerOption,
    open_client,
)
from gpunode.receipt_lookup import check_receipt_id, full_receipt_id
from gpunode.terminal_table import Column, fitting_table
from gpunode.terminal_text import printable

if TYPE_CHECKING:
    from gpunode_protocol.ledger_proofs import ReceiptProof, VerifiedReceipt
    from gpunode_protocol.tracker_api import OwnEntry

ledger = typer.Typer(name="ledger", help="Your credits, and receipts that anyone can check.", no_args_is_help=True)

_ENTRY_COLUMNS: Final = (
    Column("when (UTC)"),
    Column("kind", drop=3),
    Column("job", drop=1),
    Column("model", wraps=True),  # or an entry's memo, which has words
    Column("credits", is_number=True),
    Column("receipt", drop=4),
    Column("in log at", drop=2, is_number=True),
)


@ledger.command()
def balance(
    *,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the account's credits."""
    with open_client(tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir) as client:
        reply = client.balance()
    facts = {
        "account": reply.account,
        "spendable_microcredits": reply.spendable_microcredits,
        "reserved_microcredits": reply.reserved_microcredits,
        "promotional": reply.promotional,
    }
    rows = {
        "account": reply.account,
        "spendable": credit_text(reply.spendable_microcredits),
        "reserved by live grants": credit_text(reply.reserved_microcredits),
    }
    _show(facts, as_json, "Balance", rows)


@ledger.command()
def entries(
    *,
    limit: Annotated[int, typer.Option(help="Entries at most, newest first.", min=1, max=200)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the account's ledger entries."""
    with open_client(tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir) as client:
        reply = client.ledger_entries(limit=limit, cursor=cursor)
    if as_json:
        typer.echo(reply.model_dump_json())
        return
    from rich.console import Console  # noqa: PLC0415 -- --help stays light

    console = Console()
    console.print(fitting_table(_ENTRY_COLUMNS, [_entry_row(own) for own in reply.entries], width=console.width))
    if reply.next_cursor is not None:
        console.print(f"Older ones: --cursor {reply.next_cursor}", highlight=False)


@ledger.command()
def proof(
    receipt: Annotated[str, typer.Argument(help="The receipt's id, or its first 8 or more digits if it is yours.")],
    *,
    out: Annotated[Path | None, typer.Option("--out", help="File to write.")] = None,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a receipt with everything that is needed to check it, for 'gpunode ledger verify FILE'."""
    from gpunode.proof_files import write_proof  # noqa: PLC0415 -- as above

    check_receipt_id(receipt)
    if out is None and not as_json:
        raise typer.BadParameter("say where the proof shall go: --out FILE, or --json for standard output")
    with open_client(tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir) as client:
        found = client.receipt_proof(full_receipt_id(client, receipt))
    if out is not None:
        write_proof(out, found)
        typer.echo(f"Wrote {out}. Check it anywhere, without network: gpunode ledger verify {out}", err=True)
    if as_json:
        typer.echo(found.model_dump_json())


@ledger.command()
def verify(
    receipt: Annotated[
        str, typer.Argument(help="A proof's file (checked without network), or a receipt's id as for proof.")
    ],
    *,
    root_key: Annotated[
        str | None, typer.Option(help="The network's root key, 64 hex digits; default: the pinned one.")
    ] = None,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a receipt: both signatures, the ledger's entry, its place under the signed tree head."""
    from gpunode.proof_files import read_proof, verify_proof  # noqa: PLC0415 -- as above

    if Path(receipt).is_file():
        found = read_proof(Path(receipt))
    else:
        check_receipt_id(receipt)
        with open_client(tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir) as client:
            found = client.receipt_proof(full_receipt_id(client, receipt))
    facts = proof_facts(found, verify_proof(found, root_key=root_key, state_dir=_state_dir(state_dir)))
    rows = {name.replace("_", " "): str(value) for name, value in facts.items()}
    _show(facts, as_json, "Receipt verified", rows)


def proof_facts(proof: "ReceiptProof", verified: "VerifiedReceipt") -> dict[str, Any]:
    """Return what a verified proof says."""
    receipt, head = verified.receipt.body, verified.head.body
    return {
        "verified": True,
        "receipt": verified.receipt.digest.hex(),
        "network": receipt.network,
        "job": receipt.job,
        "node_id": receipt.node,
        "client": receipt.client,
        "model": receipt.model,
        "input_tokens": receipt.usage.input_tokens,
        "output_tokens": receipt.usage.output_tokens,
        "finished_at": receipt.finished_at,
        "entry": verified.entry.id,
        "log_index": proof.index,
        "tree_size": head.size,
        "tree_root": head.root.hex(),
        "head_issued_at": head.issued_at,
    }


def credit_text(microcredits: int) -> str:
    """Return an amount in credits, all six places."""
    return f"{microcredits / 1_000_000:,.6f} credits"


def _entry_row(own: "OwnEntry") -> tuple[str, ...]:
    """Return an entry's cells; its credits are the change of what the account owns, reserved or not."""
    entry, settled = own.entry, own.entry.settled
    mine = sum(part.microcredits for part in entry.transfers if part.account.startswith(("account:", "reserved:")))
    when = datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%d %H:%M")
    return (
        when,
        entry.kind,
        settled.job[-12:] if settled else "",
        settled.model if settled else entry.memo,
        f"{mine / 1_000_000:+,.6f}",
        settled.receipt.hex()[:12] if settled and settled.receipt else "",
        "" if own.index is None else str(own.index),
    )


def _state_dir(given: Path | None) -> Path | None:
    from gpunode.config import ClientConfig  # noqa: PLC0415 -- as above

    return ClientConfig.load({"state_dir": given}).state_dir


def _show(facts: dict[str, Any], as_json: bool, title: str, rows: dict[str, str]) -> None:
    if as_json:
        typer.echo(json.dumps(facts))
        return
    from rich.console import Console  # noqa: PLC0415 -- as above
    from rich.table import Table  # noqa: PLC0415 -- as above
    from rich.text import Text  # noqa: PLC0415 -- as above

    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # ids are there to be copied: nothing is cut
    for name, value in rows.items():
        table.add_row(name, Text(printable(value)))
    Console().print(table)
