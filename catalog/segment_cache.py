"""What was found out about stored segments, kept in ``state/``: a JSON file for each directory of the WAL archive.

Caches: they may be deleted at any time. What cannot be read counts as empty, and that one cannot be written is no
trouble, because all of it can be found out again. ``version`` changes when the meaning of the entries does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping

from catalog import durable

COMPACT = (",", ":")


def read_entries(path: str, version: int) -> dict[str, object]:
    """The entries of a file, by segment."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        segments = document["segments"] if document["format"] == version else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return segments if isinstance(segments, dict) else {}


def write_entries(
    path: str, version: int, entries: Mapping[str, object], separators: tuple[str, str] = (", ", ": ")
) -> None:
    """Put a file in the place of the one before."""
    document = {"format": version, "segments": entries}
    try:
        durable.make_directories(os.path.dirname(path))
        durable.write_file(path, json.dumps(document, separators=separators).encode())
    except OSError:
        pass


def forget_others(place: str, kept: Collection[str]) -> None:
    """Remove all files of a directory but those with these names."""
    try:
        for name in set(os.listdir(place)) - set(kept):
            durable.remove_if_present(os.path.join(place, name))
    except OSError:
        pass
