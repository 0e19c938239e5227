import pytest
import typer
from gpunode.cli import main
from gpunode.cli_region import known_region


@pytest.mark.parametrize("text", [None, "asia"])
def test_a_region_that_there_is(text: str | None) -> None:
    """Or none at all."""
    assert known_region(text) == text


def test_a_region_that_there_is_not() -> None:
    """The message lists those that there are."""
    with pytest.raises(typer.BadParameter, match=r"no region 'atlantis'.* asia, europe"):
        known_region("atlantis")


@pytest.mark.parametrize(
    "command",
    [("route", "--in"), ("nodes", "--in"), ("chat", "hi", "--region"), ("jobs", "submit", "llm", "--within")],
)
def test_it_is_an_error_of_usage(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the option by its name, before anybody is asked."""
    assert main([*command, "atlantis"]) == 2
    told = capsys.readouterr().err
    assert f"'{command[-1]}'" in told
    assert "There is no region 'atlantis'; the regions are asia" in told
