"""The door to xz, which other tools may have left in a repository: read only.

Dictionaries of up to 128 MB are taken; ``xz -9`` makes them of 64 MB.
"""

from __future__ import annotations

import lzma

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.decoding import Decompressor

DAMAGE: tuple[type[Exception], ...] = (lzma.LZMAError,)

_MEMORY = 160 << 20


def new_decompressor() -> Decompressor:
    """A decompressor of one xz stream."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
