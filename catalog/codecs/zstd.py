"""The door to zstd: the standard library's from Python 3.14 on, its backport before.

Frames carry the content's checksum and size. Reading takes windows of up to 128 MB, the limit of
the ``zstd`` command too; a frame that asks for more (``--long=28`` and beyond) is refused.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.decoding import Decompressor
    from catalog.sink import BytesLike

DAMAGE: tuple[type[Exception], ...] = (zstd.ZstdError,)

_LEVEL = int(zstd.CompressionParameter.compression_level)
_CHECKSUM = int(zstd.CompressionParameter.checksum_flag)


def compress_frame(data: BytesLike, level: int) -> bytes:
    """One complete zstd frame."""
    return zstd.compress(data, options={_LEVEL: level, _CHECKSUM: 1})


def new_decompressor() -> Decompressor:
    """A decompressor of one zstd frame."""
    return zstd.ZstdDecompressor()
