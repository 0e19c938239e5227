import pytest
from gpunode.terminal_table import Column, fitting_table
from rich.console import Console

COLUMNS = (
    Column("name"),
    Column("speed", is_number=True),
    Column("device", drop=2),
    Column("found by", drop=1),
    Column("memo", wraps=True),
)
ROWS = [("qwen2.5-7b-instruct", "48", "1 x NVIDIA GeForce RTX 4090", "index", "welcome to you")]


def _lines(width: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(fitting_table(COLUMNS, ROWS, width=width))
    return capture.get().splitlines()


def test_everything_is_shown_where_there_is_room() -> None:
    """One line an entry."""
    lines = _lines(120)
    assert "found by" in lines[1]
    assert "welcome to you" in lines[3]


@pytest.mark.parametrize(
    ("width", "names"), [(80, ["name", "speed", "device", "memo"]), (60, ["name", "speed", "memo"])]
)
def test_columns_give_way_in_their_order(width: int, names: list[str]) -> None:
    """What stays is whole."""
    lines = _lines(width)
    assert [name.strip() for name in lines[1].strip("┃").split("┃")] == names
    assert all(len(line) <= width for line in lines)
    assert "…" not in "".join(lines)
    assert "qwen2.5-7b-instruct" in lines[3]


def test_text_of_strangers_is_text() -> None:
    """Neither escape sequences nor markup."""
    console = Console(width=60)
    with console.capture() as capture:
        console.print(fitting_table((Column("name"),), [("\x1b[2J[bold]x[/bold]",)], width=60))
    assert "[2J[bold]x[/bold]" in capture.get()
    assert "\x1b[2J" not in capture.get()


@pytest.mark.parametrize(("least", "names"), [(0, ["id", "extra", "why"]), (20, ["id", "why"])])
def test_a_wrapped_column_keeps_room_to_be_read(least: int, names: list[str]) -> None:
    """One word a line is no sentence: others give way before."""
    columns = (Column("id"), Column("extra", drop=1), Column("why", wraps=True, least=least))
    console = Console(width=36)
    with console.capture() as capture:
        console.print(fitting_table(columns, [("a1", "something", "it is slower than that")], width=36))
    header = capture.get().splitlines()[1]
    assert [name.strip() for name in header.strip("┃").split("┃")] == names
