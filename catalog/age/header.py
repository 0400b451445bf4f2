"""The text in front of an age file: who can open it, stanza by stanza, and its seal.

Bytes in, values out; keys are not known here, so no cryptography is loaded to find out where a header
ends. Everything that the format does not allow is ``Corrupt``. Loads next to nothing, for the listing of
backups as well.
"""

from __future__ import annotations

import binascii

from catalog.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from catalog.sink import Reader

VERSION_LINE = b"age-encryption.org/v1"
MAC_SIZE = 32

# A recipient takes about 100 bytes, one that resists quantum computers 1,600.
MOST = 256 * 1024
_COLUMNS = 64
_END = b"---"
_FEED = 4096


class Stanza:
    """The file key, wrapped for somebody; or anything else that an implementation may skip."""

    __slots__ = ("arguments", "body")
    arguments: tuple[str, ...]
    body: bytes

    def __init__(self, arguments: Iterable[str], body: bytes) -> None:
        self.arguments = tuple(arguments)
        self.body = body

    @property
    def type(self) -> str:
        """The first argument: what wrapped it."""
        return self.arguments[0]

    def to_bytes(self) -> bytes:
        """Its lines; the last one of the body is shorter than the others, and may be empty."""
        body = to_base64(self.body)
        lines = [body[start : start + _COLUMNS] for start in range(0, len(body) + 1, _COLUMNS)]
        return b"\n".join([b"-> " + " ".join(self.arguments).encode("ascii"), *lines, b""])


class Header:
    """A header that was read. ``sealed`` is what its ``mac`` covers, ``size`` all bytes of it."""

    __slots__ = ("mac", "sealed", "size", "stanzas")
    stanzas: tuple[Stanza, ...]
    sealed: bytes
    mac: bytes
    size: int

    def __init__(self, stanzas: Iterable[Stanza], sealed: bytes, mac: bytes, size: int) -> None:
        self.stanzas = tuple(stanzas)
        self.sealed = sealed
        self.mac = mac
        self.size = size


def sealed_part(stanzas: Iterable[Stanza]) -> bytes:
    """The beginning of a header, as far as the seal covers it."""
    return b"".join([VERSION_LINE, b"\n", *(stanza.to_bytes() for stanza in stanzas), _END])


def with_mac(sealed: bytes, mac: bytes) -> bytes:
    """The whole header."""
    return sealed + b" " + to_base64(mac) + b"\n"


def read_header(reader: Reader) -> tuple[Header, Reader]:
    """The header at the beginning of an age file, and a reader of what follows; closing that closes ``reader``."""
    lines = _Lines(reader)
    _check_version(lines.next())
    stanzas = []
    while not (line := lines.next()).startswith(_END):
        stanzas.append(_read_stanza(line, lines))
    if not stanzas:
        raise Corrupt("the header of an age file names nobody who could open it", _DAMAGED)
    if line[len(_END) : len(_END) + 1] != b" ":
        raise Corrupt("the last line of an age header is malformed", _DAMAGED)
    mac = from_base64(line[len(_END) + 1 :])
    if len(mac) != MAC_SIZE:
        raise Corrupt("the seal of an age header has a wrong length", _DAMAGED)
    taken = lines.taken
    sealed = bytes(taken[: len(taken) - len(line) - 1 + len(_END)])
    return Header(stanzas, sealed, mac, len(taken)), Rest(lines.rest, reader)


def to_base64(data: bytes) -> bytes:
    """Base 64 without padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=")


def from_base64(text: bytes) -> bytes:
    """The bytes of base 64 without padding; ``Corrupt`` unless it is the one way to write them."""
    try:
        data = binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        data = b""
    if to_base64(data) != text:
        raise Corrupt("an age header holds base 64 that is malformed", _DAMAGED)
    return data


class Rest:
    """What was read ahead, and then what the reader still has."""

    __slots__ = ("_ahead", "_reader")

    def __init__(self, ahead: bytes, reader: Reader) -> None:
        self._ahead = ahead
        self._reader = reader

    def read(self, n: int, /) -> bytes:
        if not self._ahead:
            return self._reader.read(n)
        piece, self._ahead = self._ahead[:n], self._ahead[n:]
        return piece

    def close(self) -> None:
        self._reader.close()


class _Lines:
    """Takes lines off a reader, no more of them than a header may have."""

    __slots__ = ("_ended", "_held", "_reader", "_start")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._held = b""
        self._start = 0
        self._ended = False

    @property
    def taken(self) -> bytes:
        return self._held[: self._start]

    @property
    def rest(self) -> bytes:
        return self._held[self._start :]

    def next(self) -> bytes:
        """The next line, without its end."""
        while (end := self._held.find(b"\n", self._start)) < 0:
            if len(self._held) > MOST:
                raise Corrupt(f"an age header has more than {MOST} bytes, or this is no age file", _DAMAGED)
            piece = self._reader.read(_FEED)
            if not piece:
                break
            self._held += piece
        else:
            line, self._start = self._held[self._start : end], end + 1
            return line
        if not self._held:
            raise Corrupt("an encrypted file is empty", _CUT)
        if not VERSION_LINE.startswith(self._held[: len(VERSION_LINE)]):
            _check_version(self._held)
        raise Corrupt("an age file ends in its header", _CUT)


def _check_version(line: bytes) -> None:
    if line == VERSION_LINE:
        return
    if line.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----"):
        raise Corrupt(
            "the file is an age file in letters (armored); walstream reads and writes binary ones",
            "turn it into a binary one: age -d -i IDENTITY FILE | age -r RECIPIENT > NEW",
        )
    if line.startswith(b"age-encryption.org/"):
        raise Corrupt(
            "the file is an age file of another version than v1",
            "is there a newer version of walstream? The tool that wrote the file opens it",
        )
    raise Corrupt("the file is not an age file, or its beginning has changed", _DAMAGED)


def _read_stanza(line: bytes, lines: _Lines) -> Stanza:
    marker, *arguments = line.split(b" ")
    if marker != b"->" or not arguments or not all(map(_is_visible, arguments)):
        raise Corrupt("an age header holds a line that does not belong there", _DAMAGED)
    body = []
    while True:
        text = lines.next()
        if len(text) > _COLUMNS:
            raise Corrupt("an age header holds a line that is too long", _DAMAGED)
        body.append(from_base64(text))
        if len(text) < _COLUMNS:
            return Stanza((argument.decode("ascii") for argument in arguments), b"".join(body))


def _is_visible(argument: bytes) -> bool:
    return bool(argument) and all(0x21 <= byte <= 0x7E for byte in argument)


_CUT = "the file was not written to its end; use another copy"
_DAMAGED = "the stored bytes have changed, or are of another format; use another copy"
