from typing import Annotated, Any

import pytest
import typer
from gpunode.cli_limits import LimitSettings, takes_limits
from gpunode.routing import MAX_SANDBOX_LEVEL
from typer.testing import CliRunner

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
            ["hi", "--allow-node", "a", "--allow-node", "b", "--deny-node", "c", "--no-widen"],
            ("hi", False, {"allow_nodes": ["a", "b"], "deny_nodes": ["c"], "widen": False}),
        ),
        (["hi", "--exclude-doubtful-places"], ("hi", False, {"exclude_doubtful_places": True})),
        (
            ["hi", "--max-price", "0.5", "--min-sandbox", "2", "--fingerprint", "f"],
            ("hi", False, {"max_price_credits": 0.5, "min_sandbox": 2, "fingerprint": "f"}),
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


def test_help_knows_both() -> None:
    """And nothing of the parameter that carries them."""
    app = typer.Typer()
    app.command()(_command)
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "--loud" in told
    assert "--deny-node" in told
    assert "--limits" not in told
    assert "Note what it is called with." in told
