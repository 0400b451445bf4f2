"""The known name that was probably meant. Loaded only when a name is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """A hint like ``did you mean 'compression'?``, or None when nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else None
