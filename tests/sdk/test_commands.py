import typer
from gpunode.commands import register


def test_the_clients_commands_are_registered() -> None:
    """chat, nodes, ledger and demo."""
    app = typer.Typer()
    register(app)
    assert set(typer.main.get_command(app).commands) == {"chat", "nodes", "ledger", "demo", "doctor"}  # type: ignore[attr-defined]  # -- a group
