"""The door to bzip2, which other tools may have left in a repository: read only."""

from __future__ import annotations

import bz2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.decoding import Decompressor

# bz2 raises a bare OSError for damaged bytes.
DAMAGE: tuple[type[Exception], ...] = (OSError,)


def new_decompressor() -> Decompressor:
    """A decompressor of one bzip2 stream."""
    return bz2.BZ2Decompressor()
