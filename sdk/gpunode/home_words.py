"""Which region is taken for the client's own, in words."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gpunode.regions import HomeFrom

_FROM: Final["dict[HomeFrom, str]"] = {
    "setting": "as set",
    "geoip": "by your address",
    "rtt": "by measured round trips",
}


def home_in_words(home: str | None, home_from: "HomeFrom | None") -> str:
    """Return a sentence; home: None = not known."""
    if home is None or home_from is None:
        return "Your region is not known; --region or GPUNODE_REGION names it."
    return f"Your region: {home}, {_FROM[home_from]}."
