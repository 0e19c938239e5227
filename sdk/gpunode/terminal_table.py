"""Tables that stay readable in narrow terminals: columns of less importance give way instead of being cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpunode.terminal_text import printable

if TYPE_CHECKING:
    from rich.console import JustifyMethod, OverflowMethod
    from rich.table import Table

#: Of rich's default box: one space on both sides of a cell and a line after it, and the line at the left.
_WIDTH_BESIDES_A_CELL: Final = 3
_WIDTH_OF_THE_LEFT_LINE: Final = 1


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    drop: 0 = always shown; of the others, those with the smallest number give way first. wraps: between words; others
    give way until it has ``least`` characters.
    """

    name: str
    drop: int = 0
    is_number: bool = False
    wraps: bool = False
    least: int = 0


def fitting_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int, title: str | None = None
) -> "Table":
    """Return a table of strangers' text that fits ``width`` characters, as far as columns may be dropped for it."""
    from rich.table import Table  # noqa: PLC0415 -- --help stays light
    from rich.text import Text  # noqa: PLC0415 -- as above

    clean = [[printable(cell) for cell in row] for row in rows]
    shown = _shown(columns, clean, width)
    table = Table(title=title, title_justify="left")
    for number in shown:
        column = columns[number]
        justify: JustifyMethod = "right" if column.is_number else "left"
        overflow: OverflowMethod = "fold" if column.wraps else "ellipsis"  # a long name is broken, not cut
        table.add_column(column.name, justify=justify, no_wrap=not column.wraps, overflow=overflow)
    for row in clean:
        table.add_row(*(Text(row[number]) for number in shown))
    return table


def _shown(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the numbers of the columns that fit."""
    needed = [
        _WIDTH_BESIDES_A_CELL + max(_cell_width(text, column) for text in (column.name, *(row[number] for row in rows)))
        for number, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    for number in sorted((number for number in shown if columns[number].drop), key=lambda number: columns[number].drop):
        if _WIDTH_OF_THE_LEFT_LINE + sum(needed[other] for other in shown) <= width:
            break
        shown.remove(number)
    return shown


def _cell_width(text: str, column: Column) -> int:
    from rich.cells import cell_len  # noqa: PLC0415 -- as above

    parts = text.split() if column.wraps else [text]
    return max((column.least, *(cell_len(part) for part in parts)))
