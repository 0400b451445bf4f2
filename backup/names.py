"""Names of files inside a backup: their bytes, their text, and which of them stay inside.

PostgreSQL takes file names as bytes. In our texts those that are not UTF-8 carry surrogate escapes,
whatever the locale is.
"""

from __future__ import annotations

import re

from catalog.errors import Malformed

_BAD_PART = re.compile(rb"(?:\A|/)\.{0,2}(?:/|\Z)|\0")


def decode(raw: bytes) -> str:
    """The text of a name; any bytes have one."""
    return raw.decode("utf-8", "surrogateescape")


def encode(name: str) -> bytes:
    """The bytes of a name; ``Malformed`` when ``decode`` cannot have made it."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise Malformed(f"not the name of a file: {name!r}") from error


def stays_inside(raw: bytes) -> bool:
    """Whether a name is relative and plain: no empty part, no ``.``, no ``..``, no NUL.

    Symbolic links that stand in the way are not seen from here.
    """
    return _BAD_PART.search(raw) is None
