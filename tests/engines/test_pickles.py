"""Pickles are known by their names."""

from pathlib import Path

import pytest
from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.pickles import refuse_pickles


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pt", "weights.PKL", "sd.CKPT", "model.pth", "a.pickle"])
def test_pickles_are_refused_by_name(name: str) -> None:
    """In capitals too; the file need not be there, so nothing of it is read."""
    with pytest.raises(UnreadableWeights, match=rf"{name} is a pickle.*never opened"):
        refuse_pickles([Path("/nowhere/config.json"), Path("/nowhere") / name])


def test_other_files_pass() -> None:
    """Suffixes count, not names."""
    refuse_pickles([Path("model.safetensors"), Path("model.gguf"), Path("bin"), Path("pickle.json")])
