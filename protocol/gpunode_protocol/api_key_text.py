"""What can be an API key: it travels in a header, so it is one word of printable ASCII."""

import re
from typing import Final

_KEY: Final = re.compile(r"[!-~]{1,512}")


def can_be_api_key(text: str) -> bool:
    """Return whether a text can be sent as a key; the tracker alone knows whether it is one.

    What people put there by mistake, such as a whole file of settings, must not leave the machine.
    """
    return _KEY.fullmatch(text) is not None
