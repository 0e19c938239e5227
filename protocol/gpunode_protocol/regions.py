"""The regions of the network."""

from enum import StrEnum


class Region(StrEnum):
    """Continental regions; country and city are refinements below them."""

    ASIA = "asia"
    EUROPE = "europe"
    AMERICA = "america"
    AFRICA = "africa"
    OCEANIA = "oceania"
