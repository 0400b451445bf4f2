"""Tar archives as PostgreSQL writes them: pushed bytes become members, and members headers again.

Only what the server produces is understood (``pgtar.h``, ``src/port/tar.c``): POSIX ustar headers of
plain files, directories and symbolic links, no prefix, no extension of any kind. Everything else is
``Corrupt``, and so is a name that could lead out of the directory it is unpacked in: nobody
behind the parser has to check that again. What may stand under such a name already is not known here.

Names are normalised: no ``./`` in front, no slash behind. Memory is one header, whatever is pushed.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from backup import names
from catalog.errors import Corrupt, Malformed
from catalog.sink import BytesLike

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_SIZE = 1 << 50

_ZEROS = bytes(BLOCK)
# name, mode, uid, gid, size, mtime, checksum, type, link, magic, uname, gname, devmajor, devminor, prefix
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_MAGIC = b"ustar\x0000"
_BLANK_CHECKSUM = b" " * 8
_HINT = "the archive is damaged, or was not written by PostgreSQL"


class Kind(Enum):
    """What a member is; the value is tar's type flag."""

    FILE = b"0"
    SYMLINK = b"2"
    DIRECTORY = b"5"


_KINDS = {kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Member:
    """One file, directory or symbolic link in an archive; ``link`` is where a link points."""

    name: str
    kind: Kind = Kind.FILE
    size: int = 0
    mode: int = 0o600
    mtime: int = 0
    link: str = ""


class MemberSink(Protocol):
    """Somewhere members are pushed.

    One ``begin`` and one ``end`` for each member, empty or not, and between them ``data`` any
    number of times, ``member.size`` bytes in all. A view is valid only during the call.
    """

    def begin(self, member: Member, /) -> None: ...
    def data(self, view: memoryview, /) -> None: ...
    def end(self) -> None: ...


class TarParser:
    """A sink for the bytes of one archive, which pushes its members into a ``MemberSink``.

    Everything wrong with the archive is ``Corrupt``; when it ends early, ``finish`` tells.
    """

    def __init__(self, sink: MemberSink) -> None:
        self._sink = sink
        self._header = bytearray()
        self._data = 0  # bytes of the current member that are still to come
        self._padding = 0  # and of what fills up its last block
        self._zeros = 0  # bytes since the end of the last member, once a block of zeros was seen

    def write(self, data: BytesLike) -> None:
        view = memoryview(data).cast("B")
        at, end = 0, len(view)
        while at < end:
            if self._data:
                piece = view[at : at + self._data]
                self._sink.data(piece)
                at += len(piece)
                self._data -= len(piece)
                if not self._data:
                    self._sink.end()
            elif self._padding:
                skipped = min(self._padding, end - at)
                at += skipped
                self._padding -= skipped
            elif self._zeros:
                self._trailer(view[at:])
                at = end
            else:
                piece = view[at : at + BLOCK - len(self._header)]
                at += len(piece)
                self._collect(piece)

    def finish(self) -> None:
        if self._data or self._padding or self._header or self._zeros < len(END):
            raise Corrupt("the tar archive ends early", _HINT)

    def abort(self) -> None:
        self._header.clear()

    def _collect(self, piece: memoryview) -> None:
        if len(piece) == BLOCK:
            self._block(bytes(piece))
            return
        self._header += piece
        if len(self._header) == BLOCK:
            block = bytes(self._header)
            self._header.clear()
            self._block(block)

    def _block(self, block: bytes) -> None:
        if block == _ZEROS:
            self._zeros = BLOCK
            return
        member = parse_header(block)
        self._sink.begin(member)
        if member.size:
            self._data = member.size
            self._padding = padding(member.size)
        else:
            self._sink.end()

    def _trailer(self, rest: memoryview) -> None:
        if bytes(rest).strip(b"\0"):
            raise Corrupt("the tar archive has something behind its end", _HINT)
        self._zeros += len(rest)


def padding(size: int) -> int:
    """How many zero bytes follow a member's data of ``size`` bytes."""
    return -size % BLOCK


def parse_header(block: bytes) -> Member:
    """The member whose header these 512 bytes are, or ``Corrupt``."""
    fields = _HEADER.unpack(block)
    raw_name, mode, _, _, size, mtime, checksum, flag, raw_link, magic = fields[:10]
    if magic != _MAGIC or _number(checksum) != _checksum(block):
        raise Corrupt("a tar header has a wrong magic number or checksum", _HINT)
    name = _text(raw_name)
    kind = _KINDS.get(flag)
    if kind is None:
        raise Corrupt(f"member {_shown(name)} has type {flag!r}, which PostgreSQL never writes", _HINT)
    member = Member(
        name=_normalised(name, kind),
        kind=kind,
        size=_number(size),
        mode=_number(mode) & 0o7777,
        mtime=_signed(_number(mtime)),
        link=names.decode(_text(raw_link)),
    )
    if fields[14] != bytes(155):
        raise Corrupt(f"member {_shown(name)} has a name with a prefix, which PostgreSQL never writes", _HINT)
    if member.size > (MAX_SIZE if kind is Kind.FILE else 0):
        raise Corrupt(f"member {_shown(name)} has an impossible size of {member.size} bytes", _HINT)
    if bool(member.link) != (kind is Kind.SYMLINK):
        raise Corrupt(f"member {_shown(name)} lacks a link target, or has one without being a link", _HINT)
    return member


def format_header(member: Member) -> bytes:
    """The 512 bytes that introduce ``member``, as the server writes them but owned by uid and gid 0.

    ``Malformed`` when tar as PostgreSQL uses it cannot express the member.
    """
    name, link = names.encode(member.name), names.encode(member.link)
    if max(len(name), len(link)) > 99 or b"\0" in name + link:
        raise Malformed(f"name too long for a tar archive: {member.name!r}")
    if member.kind is not Kind.FILE:
        name += b"/"
    fields: list[bytes] = [
        *(name, _digits(member.mode, 8), _digits(0, 8), _digits(0, 8)),
        *(_digits(member.size, 12), _digits(member.mtime, 12)),
        *(_BLANK_CHECKSUM, member.kind.value, link, _MAGIC, b"postgres", b"postgres"),
        *(_digits(0, 8), _digits(0, 8), b""),
    ]
    fields[6] = _digits(sum(_HEADER.pack(*fields)), 8)
    header = _HEADER.pack(*fields)
    if parse_header(header) != member:
        raise Malformed(f"a tar archive cannot hold {member!r}")
    return header


def _checksum(block: bytes) -> int:
    """The sum of the header's bytes, its own checksum taken as blanks.

    The low half of an Adler-32 is one plus the sum of the bytes, modulo 65521: exact for 256 bytes,
    and twenty times as fast as ``sum``.
    """
    first = block[:148] + _BLANK_CHECKSUM + block[156:256]
    return (zlib.adler32(first) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2


def _number(field: bytes) -> int:
    """Octal digits with blanks or NULs behind, or base 256 when the first byte is 0x80."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.rstrip(b" \0")
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise Corrupt(f"a tar header has a malformed number: {field!r}", _HINT)


def _digits(value: int, width: int) -> bytes:
    """The reverse of ``_number``, in the form that the server prefers."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o " % (width - 1, value)
    return b"\x80" + (value % (1 << 64)).to_bytes(width - 1, "big")


def _signed(value: int) -> int:
    # the server prints a time before 1970 as an unsigned number of 64 bits
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(field: bytes) -> bytes:
    text = field.rstrip(b"\0")
    if b"\0" in text:
        raise Corrupt(f"a tar header has bytes behind a name: {field!r}", _HINT)
    return text


def _normalised(raw: bytes, kind: Kind) -> str:
    name = raw.removeprefix(b"./")
    if kind is not Kind.FILE:
        name = name.removesuffix(b"/")
    if not names.stays_inside(name):
        raise Corrupt(f"member {_shown(raw)} could lead out of its directory", _HINT)
    return names.decode(name)


def _shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "backslashreplace"))
