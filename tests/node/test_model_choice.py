"""What is served when nobody says what."""

from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.catalogue import default_catalogue
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Gpu, Machine
from gpunode_engines.errors import NotEnoughMemory
from gpunode_node.model_choice import Candidate, ModelChoice, Resources, choose_model, default_choice

GIB = 1024**3
SMALL = Candidate(name="small", is_here=True, can_be_pulled=False, memory_bytes=GIB // 4, weights_bytes=GIB // 8)
MIDDLE = Candidate(name="middle", is_here=False, can_be_pulled=True, memory_bytes=2 * GIB, weights_bytes=GIB)
LARGE = Candidate(name="large", is_here=False, can_be_pulled=True, memory_bytes=8 * GIB, weights_bytes=5 * GIB)
ALL = (SMALL, MIDDLE, LARGE)
ROOMY = Resources(memory_bytes=16 * GIB, disk_bytes=100 * GIB)
PC = Machine(physical_cores=2, logical_cores=4, memory_bytes=8 * GIB, available_memory_bytes=6 * GIB, gpus=())


def test_the_networks_default_is_preferred() -> None:
    """Even if it has to be pulled."""
    assert choose_model(ALL, "middle", ROOMY) == ModelChoice(
        "middle", "the network's default fits, and it will be pulled"
    )


def test_what_is_here_goes_before_what_would_be_pulled() -> None:
    """Where there is no default, or none that fits."""
    assert choose_model(ALL, None, ROOMY).name == "small"
    choice = choose_model(ALL, "large", replace(ROOMY, memory_bytes=4 * GIB))
    assert choice.name == "small"
    assert "large needs 8.0 GiB of memory, 4.0 can be used" in choice.why


def test_the_largest_that_fits_is_pulled_when_nothing_is_here() -> None:
    """Memory and disk count."""
    others = (MIDDLE, LARGE)
    assert choose_model(others, None, ROOMY).name == "large"
    assert choose_model(others, None, replace(ROOMY, disk_bytes=2 * GIB)).name == "middle"
    assert choose_model(others, None, replace(ROOMY, memory_bytes=3 * GIB)).name == "middle"


def test_when_nothing_fits_every_reason_is_told() -> None:
    """One for each model."""
    gated = replace(LARGE, can_be_pulled=False, memory_bytes=GIB, name="gated")
    with pytest.raises(NotEnoughMemory) as caught:
        choose_model((MIDDLE, LARGE, gated), None, Resources(memory_bytes=3 * GIB, disk_bytes=GIB))
    for part in ("large needs 8.0 GiB of memory", "gated is not here and cannot", "middle needs 1.0 GiB on the disk"):
        assert part in str(caught.value)


@pytest.mark.parametrize("default", ["smollm2", "SMOLLM2-135m"])
def test_the_default_may_be_an_alias(default: str, tmp_path: Path) -> None:
    """The real catalogue with its packaged model."""
    settings = EngineSettings(models_dir=tmp_path)
    assert default_choice(default, default_catalogue(), settings, PC) == ModelChoice(
        "smollm2-135m", "the network's default fits, and it is here"
    )


def test_a_default_that_is_not_known_here_is_passed_over(tmp_path: Path) -> None:
    """The node serves what it can."""
    choice = default_choice("tomorrows-model", default_catalogue(), EngineSettings(models_dir=tmp_path), PC)
    assert choice.name == "smollm2-135m"
    assert choice.why.startswith("no default of the network is known")


def test_memory_of_cards_counts_if_it_is_used(tmp_path: Path) -> None:
    """A model that fits on the cards only."""
    card = Gpu(name="card", memory_bytes=24 * GIB, free_memory_bytes=23 * GIB)
    machine = replace(PC, available_memory_bytes=GIB, gpus=(card,))
    mirror = EngineSettings(models_dir=tmp_path)
    assert default_choice("qwen2.5-7b", default_catalogue(), mirror, machine).name == "qwen2.5-7b-instruct"
    without = mirror.model_copy(update={"engine_gpu": False})
    assert default_choice("qwen2.5-7b", default_catalogue(), without, machine).name == "smollm2-135m"
