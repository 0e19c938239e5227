"""A receipt's whole id from its beginning, as tables and people write it."""

from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from gpunode.client import InferenceClient

ID_DIGITS: Final = 64
#: Fewer would often name several receipts.
MIN_PREFIX_DIGITS: Final = 8
#: The tracker's largest page, and how many of them are searched: a prefix is for receipts of late.
_PAGE_ENTRIES: Final = 200
_MAX_PAGES: Final = 10


def check_receipt_id(text: str) -> None:
    """Refuse what cannot be a receipt's id or its beginning.

    Raises:
        typer.BadParameter: what it must be.
    """
    if not MIN_PREFIX_DIGITS <= len(text) <= ID_DIGITS or not set(text) <= set("0123456789abcdef"):
        raise typer.BadParameter(
            f"{text!r} is neither a file nor a receipt's id (64 hex digits, or at least its first {MIN_PREFIX_DIGITS})"
        )


def full_receipt_id(client: "InferenceClient", text: str) -> str:
    """Return a receipt's id; its beginning is looked up among the account's newest ledger entries.

    Raises:
        InvalidRequest: none of the account's receipts begins so, or several do; these are named.
    """
    from gpunode.errors import InvalidRequest  # noqa: PLC0415 -- --help stays light

    if len(text) == ID_DIGITS:
        return text
    found = sorted(_own_receipts(client, text))
    if not found:
        raise InvalidRequest(
            f"None of the receipts in your newest {_PAGE_ENTRIES * _MAX_PAGES} ledger entries begins with {text}. "
            "Give all 64 digits; 'gpunode ledger entries' lists what you have."
        )
    if len(found) > 1:
        raise InvalidRequest(f"Several of your receipts begin with {text}: {', '.join(found)}. Give more digits.")
    return found[0]


def _own_receipts(client: "InferenceClient", prefix: str) -> set[str]:
    """Return the ids that begin so."""
    found: set[str] = set()
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = client.ledger_entries(limit=_PAGE_ENTRIES, cursor=cursor)
        settled = (own.entry.settled for own in page.entries)
        ids = (job.receipt.hex() for job in settled if job and job.receipt)
        found.update(id_ for id_ in ids if id_.startswith(prefix))
        cursor = page.next_cursor
        if cursor is None:
            break
    return found
