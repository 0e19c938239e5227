"""The client's subcommands: chat, image, transcribe, embed, jobs, nodes, regions, route, ledger, doctor, demo."""

import typer

from gpunode.cli_chat import chat
from gpunode.cli_embed import embed
from gpunode.cli_image import image
from gpunode.cli_jobs import jobs
from gpunode.cli_ledger import ledger
from gpunode.cli_nodes import nodes
from gpunode.cli_regions import regions
from gpunode.cli_route import route
from gpunode.cli_transcribe import transcribe
from gpunode.demo.command import demo
from gpunode.doctor.command import doctor


def register(app: typer.Typer) -> None:
    """Add the subcommands to the root command."""
    app.command()(chat)
    app.command()(image)
    app.command()(transcribe)
    app.command()(embed)
    app.add_typer(jobs)
    app.command()(nodes)
    app.command()(regions)
    app.command()(route)
    app.add_typer(ledger)
    app.command()(doctor)
    app.command()(demo)
