"""Names of abilities."""

from typing import get_args

from gpunode_engines.abilities import ALL_ABILITIES, Ability


def test_all_are_listed() -> None:
    """Backends that can do everything say so by this list."""
    assert get_args(Ability) == ALL_ABILITIES
