"""Sums over files, written the way a backup manifest states them."""

from __future__ import annotations

import hashlib
from typing import Protocol

from catalog.crc32c import crc32c
from catalog.errors import Malformed
from catalog.sink import BytesLike

_SHA = {
    "SHA224": hashlib.sha224,
    "SHA256": hashlib.sha256,
    "SHA384": hashlib.sha384,
    "SHA512": hashlib.sha512,
}

HEX_DIGITS = {"NONE": 0, "CRC32C": 8, "SHA224": 56, "SHA256": 64, "SHA384": 96, "SHA512": 128}
"""The algorithms PostgreSQL knows, and how long their sums are."""


class Checksum(Protocol):
    """A sum over bytes, in the manner of ``hashlib``."""

    def update(self, data: BytesLike, /) -> None: ...
    def hexdigest(self) -> str: ...


def checksum(algorithm: str) -> Checksum:
    """A fresh sum; ``Malformed`` for an algorithm that is not one of ``HEX_DIGITS``."""
    if algorithm == "CRC32C":
        return _Crc32c()
    if algorithm == "NONE":
        return _NoChecksum()
    if algorithm in _SHA:
        return _SHA[algorithm]()
    raise Malformed(f"unknown checksum algorithm {algorithm!r}", f"use one of {', '.join(HEX_DIGITS)}")


class _Crc32c:
    """PostgreSQL prints the four bytes of the number as they lie in memory: little-endian."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: BytesLike, /) -> None:
        self._value = crc32c(data, self._value)

    def hexdigest(self) -> str:
        return self._value.to_bytes(4, "little").hex()


class _NoChecksum:
    def update(self, data: BytesLike, /) -> None:
        pass

    def hexdigest(self) -> str:
        return ""
