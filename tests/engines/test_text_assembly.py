import pytest
from gpunode_engines.errors import ResumeRefused
from gpunode_engines.text_assembly import TextAssembler
from hypothesis import given
from hypothesis import strategies as st


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut bytes into pieces of the given sizes, the rest in one."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def assemble(pieces: list[bytes], *stops: str) -> str:
    """Return the whole text of the pieces."""
    assembler = TextAssembler(stops)
    return "".join(assembler.push(piece) for piece in pieces) + assembler.finish()


@given(st.text(), st.lists(st.integers(0, 3)))
def test_text_does_not_depend_on_where_tokens_are_cut(text: str, sizes: list[int]) -> None:
    """Any cut of the bytes gives the same text."""
    assert assemble(cut(text.encode(), sizes)) == text


@given(
    st.text(alphabet="ab🎉", max_size=12), st.lists(st.integers(0, 3)), st.text(alphabet="ab🎉", min_size=1, max_size=4)
)
def test_stops_do_not_depend_on_where_tokens_are_cut(text: str, sizes: list[int], stop: str) -> None:
    """The answer is what stands before the first stop text."""
    assert assemble(cut(text.encode(), sizes), stop) == text.partition(stop)[0]


@given(st.text(alphabet="ab🎉", max_size=12), st.lists(st.integers(0, 3)), st.integers(0, 12))
def test_replaying_gives_the_rest(text: str, sizes: list[int], seen: int) -> None:
    """Interrupted after any token, the text already sent plus the rest is the whole."""
    pieces = cut(text.encode(), sizes)
    first = TextAssembler(("ab",))
    sent = "".join(first.push(piece) for piece in pieces[:seen])
    second = TextAssembler(("ab",))
    rest = second.replay(pieces[:seen], len(sent.encode()))
    rest += "".join(second.push(piece) for piece in pieces[seen:]) + second.finish()
    assert sent + rest == text.partition("ab")[0]


def test_characters_wait_for_their_last_byte() -> None:
    """Nothing is shown of half a character."""
    assembler = TextAssembler()
    assert [assembler.push(bytes([byte])) for byte in "🎉".encode()] == ["", "", "", "🎉"]


def test_half_a_character_at_the_end_is_dropped() -> None:
    """It has no text."""
    assert assemble([b"a", b"\xf0\x9f"]) == "a"


def test_impossible_bytes_become_replacement_characters() -> None:
    """A model can produce bytes that are no text."""
    assert assemble([b"a\xff", b"b"]) == "a\N{REPLACEMENT CHARACTER}b"


def test_a_possible_stop_is_held_back() -> None:
    """Text that may become a stop text is not shown before it is certain."""
    assembler = TextAssembler(("stop!",))
    assert [assembler.push(piece) for piece in (b"I st", b"op", b" here")] == ["I ", "", "stop here"]
    assert not assembler.stopped


def test_the_earliest_stop_counts() -> None:
    """Whatever the order of the stop texts."""
    assembler = TextAssembler(("three", "two"))
    assert assembler.push(b"one two three") == "one "
    assert assembler.stopped
    assert assembler.push(b"more") == ""


def test_more_text_than_the_tokens_give_is_refused() -> None:
    """The reader claims text that it cannot have."""
    with pytest.raises(ResumeRefused, match="give 3 bytes"):
        TextAssembler().replay([b"abc"], 4)


def test_an_offset_inside_a_character_is_refused() -> None:
    """Offsets count bytes but stand between characters."""
    with pytest.raises(ResumeRefused, match="inside a character"):
        TextAssembler().replay(["é".encode()], 1)
