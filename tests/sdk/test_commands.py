import typer
from gpunode.commands import register


def test_the_clients_commands_are_registered() -> None:
    """Those for people who use the network."""
    app = typer.Typer()
    register(app)
    assert set(typer.main.get_command(app).commands) == {
        "chat",
        "image",
        "transcribe",
        "embed",
        "jobs",
        "nodes",
        "regions",
        "route",
        "ledger",
        "demo",
        "doctor",
    }  # type: ignore[attr-defined]  # -- a group
