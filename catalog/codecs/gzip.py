"""The door to gzip: ISA-L where it is built (levels 1 to 3, and reading), zlib for the rest.

The trailer of every frame carries a CRC-32 and the size; both libraries check them.
"""

from __future__ import annotations

import zlib

try:
    from isal import isal_zlib as _fast
except ImportError:  # not built for this machine: zlib does the same, some four times slower
    _fast = None  # type: ignore[assignment]  # the stub cannot say that it may be missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.decoding import Decompressor
    from catalog.sink import BytesLike

_GZIP = 16 + zlib.MAX_WBITS
_FASTEST_OF_ZLIB = 4

DAMAGE: tuple[type[Exception], ...] = (zlib.error,)
if _fast is not None:
    DAMAGE += (_fast.error,)  # type: ignore[operator]  # the stub calls the class an instance


def compress_frame(data: BytesLike, level: int) -> bytes:
    """One complete gzip member."""
    if _fast is not None and level < _FASTEST_OF_ZLIB:
        return _fast.compress(data, level, _GZIP)
    return zlib.compress(data, level, _GZIP)


def new_decompressor() -> Decompressor:
    """A decompressor of one gzip member."""
    return _Decompressor()


class _Decompressor:
    """zlib's manner (the caller carries the unconsumed tail) turned into that of bz2 and zstd."""

    __slots__ = ("_inner", "_tail")

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP) if _fast is None else _fast.decompressobj(_GZIP)
        self._tail = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._tail and not self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inner.decompress(self._tail + data if self._tail else data, max_length)
        self._tail = self._inner.unconsumed_tail
        return piece
