import pytest
from gpunode._seen_prefix import AnotherAnswer, SeenPrefix
from gpunode_protocol.messages import TokenLogprob, TokensFrame


def test_only_what_is_new_comes_through() -> None:
    """Frames may have other borders than those of the first node."""
    seen = SeenPrefix((1, 2, 3), "one two")
    first = seen.cut(TokensFrame(ids=(1, 2), text="one"))
    entries = tuple(TokenLogprob(id=number, logprob=-0.5, top=()) for number in (3, 4))
    second = seen.cut(TokensFrame(ids=(3, 4), text=" two four", logprobs=entries))
    seen.end()
    assert (first.ids, first.text) == ((), "")
    assert (second.ids, second.text, second.logprobs) == ((4,), " four", entries[1:])
    assert seen.cut(TokensFrame(ids=(5,), text=" five")).text == " five"


@pytest.mark.parametrize(
    ("entries", "kept"), [((1, 3), (3,)), ((2,), (2,)), ((1,), ()), ((1, 2, 3), (2, 3)), ((9, 3), (3,))]
)
def test_entries_may_be_missing(entries: tuple[int, ...], kept: tuple[int, ...]) -> None:
    """Each belongs to the token that it names, so those of new tokens stay and no others."""
    logprobs = tuple(TokenLogprob(id=number, logprob=-0.5, top=()) for number in entries)
    new = SeenPrefix((1,), "a").cut(TokensFrame(ids=(1, 2, 3), text="abc", logprobs=logprobs))
    assert tuple(entry.id for entry in new.logprobs or ()) == kept


@pytest.mark.parametrize("frame", [TokensFrame(ids=(1, 9), text="one"), TokensFrame(ids=(1,), text="One")])
def test_another_answer_is_noticed(frame: TokensFrame) -> None:
    """By its tokens, or by its text."""
    with pytest.raises(AnotherAnswer):
        SeenPrefix((1, 2), "one two").cut(frame)


def test_a_shorter_answer_is_another_one() -> None:
    """The caller has seen more than the second node says at all."""
    seen = SeenPrefix((1, 2), "one two")
    seen.cut(TokensFrame(ids=(1,), text="one"))
    with pytest.raises(AnotherAnswer):
        seen.end()
