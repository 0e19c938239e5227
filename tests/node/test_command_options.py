"""Options of the node's commands; test_commands has what becomes of them."""

from inspect import signature
from typing import get_args

import pytest
import typer
from gpunode_node.command_options import region_named
from gpunode_node.commands import start
from gpunode_protocol.regions import Region


@pytest.mark.parametrize("text", ["europe", "Europe", "EUROPE"])
def test_regions_are_named_in_any_case(text: str) -> None:
    """People write them as they like."""
    assert region_named(text) is Region.EUROPE


def test_an_unknown_region() -> None:
    """It is refused in plain words that name the regions."""
    with pytest.raises(typer.BadParameter) as refused:
        region_named("mars")
    assert refused.value.message == "mars is not a region. Choose asia, europe, america, africa or oceania."


def test_every_option_says_what_it_is_for() -> None:
    """``gpunode start --help`` has no empty line."""
    for parameter in signature(start).parameters.values():
        _, option = get_args(parameter.annotation)
        assert option.help, parameter.name
