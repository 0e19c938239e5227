"""Options that the client's subcommands share. Imports nothing heavy: every command line builds them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpunode.cli_region import known_region

if TYPE_CHECKING:
    from gpunode.cli_limits import LimitSettings
    from gpunode.client import InferenceClient

TrackerOption = Annotated[str | None, typer.Option("--tracker", help="The tracker's address (GPUNODE_TRACKER).")]
ApiKeyFileOption = Annotated[
    Path | None, typer.Option("--api-key-file", help="File with the account's API key (or GPUNODE_API_KEY).")
]
CaFileOption = Annotated[Path | None, typer.Option("--ca-file", help="Certificate authorities to trust (PEM).")]
InsecureOption = Annotated[
    bool | None, typer.Option("--insecure", help="Allow plain http to a tracker on another machine.")
]
StateDirOption = Annotated[
    Path | None, typer.Option("--state-dir", help="Where key, pinned network and grants are kept.")
]
RegionOption = Annotated[
    str | None,
    typer.Option("--region", callback=known_region, help="Where you are: asia, europe, america, africa or oceania."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_client(
    tracker: str | None,
    api_key_file: Path | None,
    *,
    ca_file: Path | None,
    insecure: bool | None,
    state_dir: Path | None,
    region: str | None = None,
    limits: "LimitSettings | None" = None,
) -> "InferenceClient":
    """Return the client that a command line asks for; what is None comes from the environment or the TOML file."""
    from gpunode.client import InferenceClient  # noqa: PLC0415 -- --help stays light

    return InferenceClient(
        tracker,
        api_key_file=api_key_file,
        ca_file=ca_file,
        insecure=insecure or None,
        state_dir=state_dir,
        region=region,
        **(limits or {}),
    )
