"""INCREMENTAL files: the blocks of a relation that changed, as an incremental backup holds them. Pure.

PostgreSQL 17 and later (``basebackup_incremental.c``): magic, number of blocks, truncation length, block
numbers, and behind padding the blocks themselves. What is pushed comes out as positions in the relation's file
and the bytes that belong there. Numbers that no relation can have are ``Corrupt`` before anything is made of
them, and so is a size that does not follow from them. Memory is one list of block numbers.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from catalog.errors import Corrupt

PREFIX = "INCREMENTAL."
SEGMENT_BYTES = 1 << 30
MAGIC = 0xD3AE1F0D

_HEADER = struct.Struct("<III")
_RELATIONS = re.compile(r"(?:base/[0-9]+|global|(?:pg_tblspc/[0-9]+/)?PG_[^/]+/[0-9]+)/")
_HINT = "this backup cannot be restored; take a new full backup"


def patched_name(name: str) -> str | None:
    """The file that an INCREMENTAL file belongs to; None for any other file.

    Only where relations lie: elsewhere a file of such a name is an ordinary one.
    """
    match = _RELATIONS.match(name)
    if match is None or not name.startswith(PREFIX, match.end()) or "/" in name[match.end() :]:
        return None
    return name[: match.end()] + name[match.end() + len(PREFIX) :]


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the blocks; ``truncation`` is up to where older backups supply blocks."""

    blocks: array[int]
    truncation: int
    block_size: int

    @property
    def kept(self) -> int:
        """How many bytes of what was there before are still part of the file."""
        return self.truncation * self.block_size

    @property
    def length(self) -> int:
        """The bytes of the whole file."""
        return max(self.truncation, self.blocks[-1] + 1 if self.blocks else 0) * self.block_size


class IncrementalReader:
    """Reads one file of ``size`` bytes: ``feed`` what there is of it, then ``finish``."""

    def __init__(self, name: str, size: int, block_size: int) -> None:
        self.header: Header | None = None
        self._name = name
        self._size = size
        self._block_size = block_size
        self._head = bytearray()
        self._wanted = _HEADER.size  # of the head, as far as is known
        self._at = 0  # in the blocks

    def feed(self, view: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Positions in the relation's file, and what belongs there; each as long as may be.

        ``header`` is there before the first of them.
        """
        while self.header is None and view:
            missing = self._wanted - len(self._head)
            self._head += view[:missing]
            view = view[missing:]
            if len(self._head) == self._wanted:
                self._read_head()
        while view:
            position, count = self._run(len(view))
            yield position, view[:count]
            self._at += count
            view = view[count:]

    def finish(self) -> Header:
        """The header of a file that has been read to its end."""
        if self.header is None or self._at != len(self.header.blocks) * self._block_size:
            raise self._corrupt("ends early")
        return self.header

    def _read_head(self) -> None:
        magic, count, truncation = _HEADER.unpack_from(self._head)
        most = SEGMENT_BYTES // self._block_size
        if magic != MAGIC:
            raise self._corrupt(f"begins with {magic:#010x} instead of {MAGIC:#010x}")
        if max(count, truncation) > most:
            raise self._corrupt(f"states {count} blocks of {truncation}, more than the {most} of a file")
        listed = _HEADER.size + count * 4
        head = listed + (-listed % self._block_size if count else 0)
        if self._size != head + count * self._block_size:
            raise self._corrupt(f"has {self._size} bytes, which {count} blocks do not make")
        if len(self._head) < head:
            self._wanted = head
            return
        self.header = Header(
            self._blocks(bytes(self._head[_HEADER.size : listed])), truncation, self._block_size
        )
        self._head.clear()

    def _blocks(self, raw: bytes) -> array[int]:
        blocks = array("I", raw)
        if sys.byteorder == "big":
            blocks.byteswap()
        most = SEGMENT_BYTES // self._block_size
        if any(after <= before for before, after in pairwise(blocks)):
            raise self._corrupt("lists blocks out of order")
        if blocks and blocks[-1] >= most:
            raise self._corrupt(f"lists block {blocks[-1]} of a file of {most} blocks")
        return blocks

    def _run(self, most: int) -> tuple[int, int]:
        """Where the next bytes belong, and how many of ``most`` follow each other there."""
        blocks = self.header.blocks if self.header is not None else array("I")
        index, within = divmod(self._at, self._block_size)
        if index >= len(blocks):
            raise self._corrupt("has something behind its end")
        count = self._block_size - within
        last = index + 1
        while count < most and last < len(blocks) and blocks[last] == blocks[last - 1] + 1:
            count += self._block_size
            last += 1
        return blocks[index] * self._block_size + within, min(count, most)

    def _corrupt(self, what: str) -> Corrupt:
        return Corrupt(f"the incremental file {self._name!r} {what}", _HINT)
