"""CRC-32C (Castagnoli), as PostgreSQL sums WAL records and the files of a backup manifest."""

from __future__ import annotations

import google_crc32c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.sink import BytesLike


def crc32c(data: BytesLike, value: int = 0) -> int:
    """The sum of ``data``; pass the result back as ``value`` to go on with more bytes."""
    total: int = google_crc32c.extend(value, bytes(data))  # accepts bytes alone
    return total
