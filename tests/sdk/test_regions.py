from dataclasses import FrozenInstanceError
from typing import get_args

import pytest
from gpunode.regions import CallerInfo, CallerUnknown
from gpunode_protocol.tracker_api import RegionsReply


def test_the_reasons_are_those_of_the_protocol() -> None:
    """Every reason that a tracker can give is one that callers know, and no others."""
    reasons, _ = get_args(RegionsReply.model_fields["caller_unknown"].annotation)
    assert get_args(CallerUnknown) == get_args(reasons)


def test_what_is_told_cannot_be_changed() -> None:
    """It may be shared between threads."""
    caller = CallerInfo(region=None, country="", latitude=None, longitude=None, accuracy_km=None)
    with pytest.raises(FrozenInstanceError):
        caller.country = "FR"  # type: ignore[misc]  # -- that is the point
