"""Values in our JSON documents, both ways: times, positions, what may be null, and keys that we do not know.

``Document`` reads what JSON has; here it becomes a value of ours, or ``Corrupt`` with the key. Dataclasses are
written by their fields' names. Times are ISO 8601, and here always UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import TypeVar

from catalog.document import Document
from catalog.errors import Malformed
from catalog.lsn import LSN, SegmentSize

_T = TypeVar("_T")


def unknown_keys() -> Mapping[str, object]:
    """The field ``extra`` of a dataclass: what a newer version wrote, kept and written again."""
    return field(default_factory=dict, hash=False)


def optional(document: Document, key: str, read: Callable[[str], _T]) -> _T | None:
    """What ``read`` makes of ``key``, or None where the document says null."""
    return None if document.is_null(key) else read(key)


def read_time(document: Document, key: str) -> datetime:
    """A time with its zone, as UTC."""
    text = document.text(key)
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise document.wrong(key, "an ISO 8601 time with its zone")


def read_lsn(document: Document, key: str) -> LSN:
    """A position."""
    text = document.text(key)
    try:
        return LSN.parse(text)
    except Malformed as error:
        raise document.wrong(key, "an LSN") from error


def plain_fields(value: object) -> dict[str, object]:
    """The fields of one of our dataclasses as JSON knows them, the unknown keys behind them."""
    content = {name: _plain(field) for name, field in vars(value).items() if name != "extra"}
    return {**content, **getattr(value, "extra", {})}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, LSN):
        return str(value)
    if isinstance(value, SegmentSize):
        return value.nbytes
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return plain_fields(value) if hasattr(value, "__dataclass_fields__") else value
