"""The door to lz4: frames of 4 MB blocks with the content's checksum and size."""

from __future__ import annotations

import lz4.frame  # type: ignore[import-untyped]  # it ships no types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.decoding import Decompressor
    from catalog.sink import BytesLike

# The binding raises RuntimeError for whatever liblz4 rejects, and nothing finer.
DAMAGE: tuple[type[Exception], ...] = (RuntimeError,)


def compress_frame(data: BytesLike, level: int) -> bytes:
    """One complete lz4 frame."""
    frame: bytes = lz4.frame.compress(
        data,
        compression_level=level,
        block_size=lz4.frame.BLOCKSIZE_MAX4MB,
        content_checksum=True,
        store_size=True,
    )
    return frame


def new_decompressor() -> Decompressor:
    """A decompressor of one lz4 frame."""
    return _Decompressor()


class _Decompressor:
    """The binding's own, but ``unused_data`` is always bytes (there it may be None)."""

    __slots__ = ("_inner",)

    def __init__(self) -> None:
        self._inner = lz4.frame.LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._inner.needs_input)

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data or b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece: bytes = self._inner.decompress(data, max_length)
        return piece
