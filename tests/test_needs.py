"""A machine that lacks something skips tests; one that should have it fails them."""

import pytest

from tests import needs

SKIPPED, FAILED = pytest.skip.Exception, pytest.fail.Exception


@pytest.mark.parametrize(("needed", "outcome"), [(set[str](), SKIPPED), ({"lab"}, SKIPPED), ({"redis"}, FAILED)])
def test_what_is_lacking(needed: set[str], outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot know what there is finds tests skipped."""
    monkeypatch.setattr(needs, "NEEDED", frozenset(needed))
    with pytest.raises(outcome, match="no Redis"):
        needs.lacking("redis", "no Redis here")
