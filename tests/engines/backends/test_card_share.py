"""torch on a part of each card."""

from dataclasses import replace
from types import SimpleNamespace

from gpunode_engines.backends.card_share import keep_to_share

from tests.engines.scripted_engine import SCRIPTED_PLAN


def test_every_card_is_limited_where_the_owner_wants_it() -> None:
    """And no call is made where all of it is given."""
    calls: list[tuple[float, int]] = []
    cuda = SimpleNamespace(
        device_count=lambda: 2, set_per_process_memory_fraction=lambda share, index: calls.append((share, index))
    )
    keep_to_share(SimpleNamespace(cuda=cuda), SCRIPTED_PLAN.options)
    assert calls == []
    keep_to_share(SimpleNamespace(cuda=cuda), replace(SCRIPTED_PLAN.options, card_share=0.5))
    assert calls == [(0.5, 0), (0.5, 1)]
