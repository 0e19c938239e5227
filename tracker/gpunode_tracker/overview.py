"""``gpunode tracker show``: the network at a glance."""

from dataclasses import asdict
from typing import Any

from gpunode.terminal_text import printable
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpunode_tracker.administration import Administration
from gpunode_tracker.keys import ROOT_KEY_FILE, key_in_use
from gpunode_tracker.run_file import read_run_file


async def overview(admin: Administration) -> dict[str, Any]:
    """Return network, keys, the running process and all accounts."""
    data_dir = admin.settings.data_dir
    running = read_run_file(data_dir)
    return {
        "network": admin.keys.network,
        "root_public_key": admin.keys.trust.root_public_key.hex(),
        "root_key_here": (data_dir / ROOT_KEY_FILE).exists(),
        "signing_key": key_in_use(admin.keys.keyset.body, admin.clock()).kid,
        "keys": [
            {"kid": key.kid, "not_before": key.not_before, "retired_at": key.retired_at}
            for key in admin.keys.keyset.body.keys
        ],
        "data_dir": str(data_dir),
        "running": asdict(running) if running else None,
        "accounts": [
            {
                "account": account.id,
                "name": account.name,
                "promotional": account.promotional,
                "spendable_microcredits": balance.spendable_microcredits,
                "reserved_microcredits": balance.reserved_microcredits,
            }
            for account, balance in await admin.balances()
        ],
    }


def print_overview(facts: dict[str, Any]) -> None:
    """Print it for people."""
    console = Console()
    running = facts["running"]
    lines = {
        "network": facts["network"],
        "runs at": running["url"] if running else "not running",
        "bootstrap": "\n".join(running["bootstrap"]) if running else "",
        "signing key": facts["signing_key"],
        "root key": "in the data folder: move it offline" if facts["root_key_here"] else "offline",
        "data folder": facts["data_dir"],
    }
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # a cut multiaddr is of no use
    for name, value in lines.items():
        table.add_row(name, value)
    console.print(table)
    accounts = Table("account", "name", "spendable credits", "reserved credits", "kind")
    for account in facts["accounts"]:
        accounts.add_row(
            account["account"],
            Text(printable(account["name"])),
            _credits(account["spendable_microcredits"]),
            _credits(account["reserved_microcredits"]),
            "promotional" if account["promotional"] else "",
        )
    console.print(accounts)


def _credits(microcredits: int) -> str:
    return f"{microcredits / MICROCREDITS_PER_CREDIT:,.6f}"
