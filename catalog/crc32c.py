"""The door to google-crc32c: the checksum of WAL records, control files and backup manifests."""

from __future__ import annotations

from google_crc32c import extend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.sink import BytesLike


def crc32c(data: BytesLike, value: int = 0) -> int:
    """The CRC-32C of ``data``, or of what ``value`` is the CRC-32C of with ``data`` behind it."""
    # The library takes nothing but bytes; copying is some twenty times faster than summing.
    crc: int = extend(value, data if isinstance(data, bytes) else bytes(data))
    return crc
