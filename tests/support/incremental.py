"""INCREMENTAL files made without a server."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence


def incremental_file(
    blocks: Mapping[int, bytes], truncation: int, block_size: int = 8192, order: Sequence[int] | None = None
) -> bytes:
    """The file that changes these blocks, each filled up with zeros; ``order`` is what it lists instead."""
    numbers = sorted(blocks)
    listed = numbers if order is None else order
    head = struct.pack(f"<III{len(listed)}I", 0xD3AE1F0D, len(listed), truncation, *listed)
    padding = bytes(-len(head) % block_size) if listed else b""
    return head + padding + b"".join(blocks[number].ljust(block_size, b"\0") for number in numbers)
