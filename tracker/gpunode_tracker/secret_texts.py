"""Keys and tokens that people put where they do not belong are not repeated: in problems, logs and the audit log."""

import re
from typing import Final

_SECRET: Final = re.compile(r"\b(gp[nw]_|whsec_)[A-Za-z0-9_+/=-]{6,}")
"""Our API keys, worker tokens, and what signs webhooks."""
_URL_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/@]*@")


def without_secrets(text: str) -> str:
    """Return a text with keys, tokens and the credentials of URLs cut down to what they are."""
    return _URL_CREDENTIALS.sub("…@", _SECRET.sub(r"\1…", text))
