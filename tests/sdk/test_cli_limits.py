from typing import Annotated, Any

import pytest
import typer
from gpunode.cli import main
from gpunode.cli_limits import LimitSettings, takes_limits
from gpunode.routing import MAX_SANDBOX_LEVEL
from gpunode_protocol.identity import Identity
from typer.testing import CliRunner

A, B, C = (Identity.generate().peer_id for _ in range(3))

_seen: list[tuple[Any, ...]] = []


@takes_limits
def _command(
    word: Annotated[str, typer.Argument()],
    *,
    loud: Annotated[bool, typer.Option("--loud")] = False,
    limits: LimitSettings,
) -> None:
    """Note what it is called with."""
    _seen.append((word, loud, {name: value for name, value in limits.items() if value is not None}))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["hi"], ("hi", False, {})),
        (["hi", "--loud", "--own-nodes"], ("hi", True, {"own_nodes": True})),
        (
            ["hi", "--allow-node", A, "--allow-node", B, "--deny-node", C, "--no-widen"],
            ("hi", False, {"allow_nodes": [A, B], "deny_nodes": [C], "widen": False}),
        ),
        (["hi", "--exclude-doubtful-places"], ("hi", False, {"exclude_doubtful_places": True})),
        (
            ["hi", "--max-price", "0.5", "--min-sandbox", "2", "--fingerprint", "f" * 64],
            ("hi", False, {"max_price_credits": 0.5, "min_sandbox": 2, "fingerprint": "f" * 64}),
        ),
    ],
)
def test_a_command_gets_the_limits_beside_its_own_options(arguments: list[str], expected: tuple[Any, ...]) -> None:
    """What is not given is None, and comes from the settings."""
    app = typer.Typer()
    app.command()(_command)
    _seen.clear()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert _seen == [expected]


@pytest.mark.parametrize(
    "arguments", [("--min-sandbox", str(MAX_SANDBOX_LEVEL + 1)), ("--min-sandbox", "-1"), ("--max-price", "-0.5")]
)
def test_what_no_node_could_meet_is_an_error_of_usage(arguments: tuple[str, str]) -> None:
    """It names the option; the highest level is accepted."""
    app = typer.Typer()
    app.command()(_command)
    refused = CliRunner().invoke(app, ["hi", *arguments])
    assert (refused.exit_code, arguments[0] in refused.stderr) == (2, True)
    assert CliRunner().invoke(app, ["hi", "--min-sandbox", str(MAX_SANDBOX_LEVEL)]).exit_code == 0


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--fingerprint", "zz", "A fingerprint has 64 hex digits"),
        ("--allow-node", "12D3KooW", "'12D3KooW' is no whole node id; 'gpunode nodes --json'"),
        ("--deny-node", "zz", "'zz' is no whole node id"),
    ],
)
def test_what_cannot_be_an_id_is_an_error_of_usage(
    option: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what one looks like, before anybody is asked."""
    assert main(["route", option, value]) == 2
    assert words in capsys.readouterr().err


def test_help_knows_both() -> None:
    """And nothing of the parameter that carries them."""
    app = typer.Typer()
    app.command()(_command)
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "--loud" in told
    assert "--deny-node" in told
    assert "--limits" not in told
    assert "Note what it is called with." in told
