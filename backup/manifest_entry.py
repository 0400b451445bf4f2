"""One entry of a ``backup_manifest``, both ways: a file, or a span of WAL, as the JSON object on a line of it.

Pure, and strict: every key is known and given once, every value is of its kind, and no path leads outside. What
is not so is ``Malformed``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NoReturn

from backup import names
from backup.checksum import HEX_DIGITS
from catalog.errors import Malformed
from catalog.lsn import LSN

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*")
_FILE_KEYS = frozenset({"Path", "Encoded-Path", "Size", "Last-Modified", "Checksum-Algorithm", "Checksum"})
_RANGE_KEYS = frozenset({"Timeline", "Start-LSN", "End-LSN"})


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file as a manifest lists it; without a checksum the algorithm is ``NONE``."""

    path: str
    size: int
    mtime: str = ""
    algorithm: str = "NONE"
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class WalRange:
    """A span of WAL that the backup needs to become consistent."""

    timeline: int
    start: LSN
    end: LSN


def format_file(entry: FileEntry) -> str:
    """The line of a file, without what separates it from the next."""
    try:
        entry.path.encode()
        path = f'"Path": {json.dumps(entry.path, ensure_ascii=False)}'
    except UnicodeEncodeError:
        path = f'"Encoded-Path": "{names.encode(entry.path).hex()}"'
    mtime = f', "Last-Modified": {json.dumps(entry.mtime)}' if entry.mtime else ""
    total = ""
    if entry.algorithm != "NONE":
        total = f', "Checksum-Algorithm": "{entry.algorithm}", "Checksum": "{entry.checksum}"'
    return f'{{ {path}, "Size": {entry.size}{mtime}{total} }}'


def format_range(span: WalRange) -> str:
    """The line of a span of WAL."""
    return f'{{ "Timeline": {span.timeline}, "Start-LSN": "{span.start}", "End-LSN": "{span.end}" }}'


def read_object(text: bytes) -> dict[str, object]:
    """The JSON object that a line holds."""
    try:
        value: object = _DECODER.decode(text.decode())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Malformed(f"the backup manifest has {text[:200]!r} where an entry should be")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is given twice")
    return fields


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def read_file(fields: dict[str, object]) -> FileEntry:
    """The file that an object lists."""
    size, mtime = fields.get("Size"), fields.get("Last-Modified", "")
    algorithm, total = fields.get("Checksum-Algorithm", "NONE"), fields.get("Checksum", "")
    if (
        not _FILE_KEYS.issuperset(fields)
        or type(size) is not int
        or not 0 <= size < 1 << 63
        or not isinstance(mtime, str)
        or not isinstance(algorithm, str)
        or not isinstance(total, str)
    ):
        _refuse(fields)
    algorithm = algorithm.upper()
    if HEX_DIGITS.get(algorithm) != len(total) or not _HEX.fullmatch(total):
        _refuse(fields)
    return FileEntry(_path(fields), size, mtime, algorithm, total.lower())


def _path(fields: dict[str, object]) -> str:
    plain, encoded = fields.get("Path"), fields.get("Encoded-Path")
    raw = b""
    if isinstance(plain, str) and "Encoded-Path" not in fields:
        try:
            raw = plain.encode()
        except UnicodeEncodeError:
            _refuse(fields)
    elif isinstance(encoded, str) and "Path" not in fields and _HEX.fullmatch(encoded):
        raw = bytes.fromhex(encoded)
    if not names.stays_inside(raw):
        _refuse(fields)
    return names.decode(raw)


def read_range(fields: dict[str, object]) -> WalRange:
    """The span of WAL that an object lists."""
    timeline, start, end = fields.get("Timeline"), fields.get("Start-LSN"), fields.get("End-LSN")
    if (
        fields.keys() != _RANGE_KEYS
        or type(timeline) is not int
        or not 0 < timeline < 1 << 32
        or not isinstance(start, str)
        or not isinstance(end, str)
    ):
        _refuse(fields)
    return WalRange(timeline, LSN.parse(start), LSN.parse(end))


def _refuse(fields: dict[str, object]) -> NoReturn:
    raise Malformed(f"the backup manifest has a malformed entry: {str(fields)[:400]}")
