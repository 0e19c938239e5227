from gpunode.terminal_text import milliseconds, printable, short_id


def test_escape_sequences_do_not_reach_the_terminal() -> None:
    """An answer must not rewrite the screen; line breaks, tabs and all languages stay."""
    assert printable("a\x1b[2Jb\x07\x9bc\r\n\tü漢") == "a[2Jbc\n\tü漢"


def test_an_answer_is_read_in_the_order_that_it_has() -> None:
    """Nothing overrides, embeds or isolates a direction; text that is written from the right stays."""
    controls = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    assert printable(f"safe{controls}gpj.exe שלום") == "safegpj.exe שלום"


def test_peer_ids_are_shortened_at_their_end() -> None:
    """They all begin alike."""
    assert short_id("12D3KooWGBAb2U2Af7Cs7c7yMWTLMhTJ7xXk3JZWQfNKGMcfr7Qe") == "…GMcfr7Qe"
    assert short_id("short") == "short"


def test_durations() -> None:
    """One decimal where it matters."""
    assert [milliseconds(value) for value in (None, 0.44, 187.4)] == ["-", "0.4 ms", "187 ms"]
