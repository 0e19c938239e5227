"""Placement on machines with cards, none of which is needed here."""

import pytest
from gpunode_engines.cuda_placement import CudaPlacement, place, quantised_bits, quantised_bytes
from gpunode_engines.errors import NotEnoughMemory

GIB = 1024**3


def test_one_card_is_enough() -> None:
    """The one with the most room; a second one stays free."""
    assert place(10 * GIB, 2 * GIB, cards=[8 * GIB, 24 * GIB], ram_bytes=0, bits=0) == CudaPlacement(device_map={"": 1})


def test_several_cards_share_weights_and_caches() -> None:
    """Each leaves room for its part of the caches."""
    placed = place(30 * GIB, 4 * GIB, cards=[20 * GIB, 20 * GIB], ram_bytes=64 * GIB, bits=0)
    assert placed.device_map == "auto"
    assert placed.max_memory == {0: 16 * GIB, 1: 16 * GIB}


def test_the_rest_stays_in_ram() -> None:
    """Only what the cards cannot hold, and never the caches."""
    placed = place(30 * GIB, GIB, cards=[20 * GIB], ram_bytes=40 * GIB, bits=0)
    assert placed.max_memory == {0: 17 * GIB, "cpu": 36 * GIB}


@pytest.mark.parametrize(
    ("weights", "cache", "ram", "bits"),
    [(30 * GIB, GIB, 0, 0), (30 * GIB, GIB, 64 * GIB, 4), (GIB, 40 * GIB, 64 * GIB, 0), (99 * GIB, GIB, 64 * GIB, 0)],
)
def test_what_fits_nowhere_is_refused(weights: int, cache: int, ram: int, bits: int) -> None:
    """Too little RAM, quantised weights, caches beyond the cards, everything too large."""
    with pytest.raises(NotEnoughMemory):
        place(weights, cache, cards=[20 * GIB], ram_bytes=ram, bits=bits)  # type: ignore[arg-type]  # -- 0 or 4


@pytest.mark.parametrize(("bits", "expected"), [(16, 0), (8, 8), (4, 4), (4.84, 0)])
def test_the_catalogue_says_how_weights_are_quantised(bits: float, expected: int) -> None:
    """For transformers only: llama.cpp's weights are quantised already."""
    assert quantised_bits("transformers", bits) == expected
    assert quantised_bits("llamacpp", bits) == 0


def test_quantised_weights_take_less() -> None:
    """By their bits."""
    assert quantised_bytes(16 * GIB, 4) == 4 * GIB
    assert quantised_bytes(16 * GIB, 0) == 16 * GIB
