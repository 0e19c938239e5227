import pytest
from gpunode_benchmarks.time_words import WORD_BYTES, age_s, word_of
from hypothesis import given
from hypothesis import strategies as st

_DAY_S = 86_400
_LAP_S = 62**WORD_BYTES / 1e6


@given(st.floats(min_value=0, max_value=30 * _DAY_S), st.floats(min_value=0, max_value=_LAP_S / 2))
def test_a_word_tells_its_age(instant_s: float, passed_s: float) -> None:
    """To the microsecond, also where the words begin anew in between."""
    word = word_of(instant_s)
    assert len(word.encode()) == WORD_BYTES
    assert age_s(word, instant_s + passed_s) == pytest.approx(passed_s, abs=3e-6)


@pytest.mark.parametrize(("word", "problem"), [("12345", "6 letters"), ("1234567", "6 letters"), ("12 456", "found")])
def test_other_texts_have_no_age(word: str, problem: str) -> None:
    """A token that lost or gained a letter on its way is noticed."""
    with pytest.raises(ValueError, match=problem):
        age_s(word, 1.0)
