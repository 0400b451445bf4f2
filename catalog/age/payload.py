"""The bytes of an age file behind its header: pieces of 64 KiB, each sealed, in their order, the last one marked.

Writing is a sink, reading a reader, both in a megabyte or two of memory. Every piece is checked before it comes
out, and whoever reads to the end learns of all that was altered, cut off, doubled or moved. While it encrypts,
the library lets other threads run.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from catalog.age.keys import payload_key
from catalog.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.sink import BytesLike, Reader, Sink

PIECE = 64 * 1024
NONCE_SIZE = 16
TAG = 16
_SEALED = PIECE + TAG
_BATCH = 16  # pieces that are written at once


class EncryptingSink:
    """Encrypts what is written into ``sink``; the header is there already."""

    def __init__(self, file_key: bytes, sink: Sink) -> None:
        nonce = os.urandom(NONCE_SIZE)
        self._cipher = ChaCha20Poly1305(payload_key(file_key, nonce))
        self._sink = sink
        self._number = 0
        self._held = memoryview(bytearray(PIECE))
        self._filled = 0
        self._sealed = memoryview(bytearray(_BATCH * _SEALED))
        self._ready = 0
        self._sink.write(nonce)

    def write(self, data: BytesLike) -> None:
        # A piece is sealed only when something comes behind it: the last one is marked, and never empty.
        rest = memoryview(data).cast("B")
        if self._filled:
            rest = self._hold(rest)
            if not rest:
                return
            self._seal(self._held, last=False)
            self._filled = 0
        while len(rest) > PIECE:
            self._seal(rest[:PIECE], last=False)
            rest = rest[PIECE:]
        self._hold(rest)

    def finish(self) -> None:
        self._seal(self._held[: self._filled], last=True)
        self._pass_on()
        self._sink.finish()

    def abort(self) -> None:
        self._sink.abort()

    def _hold(self, data: memoryview) -> memoryview:
        """Keep what fits into the piece being filled; what did not."""
        count = min(len(data), PIECE - self._filled)
        self._held[self._filled : self._filled + count] = data[:count]
        self._filled += count
        return data[count:]

    def _seal(self, piece: memoryview, *, last: bool) -> None:
        size = len(piece) + TAG
        if self._ready + size > len(self._sealed):
            self._pass_on()
        into = self._sealed[self._ready : self._ready + size]
        self._cipher.encrypt_into(_nonce(self._number, last), piece, None, into)
        self._number += 1
        self._ready += size

    def _pass_on(self) -> None:
        ready, self._ready = self._ready, 0
        self._sink.write(self._sealed[:ready])


class DecryptingReader:
    """The bytes that were encrypted; ``reader`` gives what is behind the header, and is closed with this one."""

    def __init__(self, file_key: bytes, reader: Reader) -> None:
        self._reader = reader
        self._ahead = b""
        self._ended = False
        nonce = self._take(NONCE_SIZE)
        if len(nonce) < NONCE_SIZE:
            raise Corrupt("an age file ends in its header", _CUT)
        self._cipher = ChaCha20Poly1305(payload_key(file_key, nonce))
        self._number = 0
        self._last = False
        self._open = memoryview(b"")
        self._corrupt: Corrupt | None = None

    def read(self, n: int, /) -> bytes:
        if n < 0:
            raise ValueError("read needs a size")
        if not self._open and self._corrupt is not None:
            raise self._corrupt
        if n and not self._open and not self._last:
            try:
                self._open = memoryview(self._next_piece())
            except Corrupt as error:
                self._corrupt = error
                raise
        piece, self._open = self._open[:n], self._open[n:]
        return bytes(piece)

    def close(self) -> None:
        self._open = memoryview(b"")
        self._ahead = b""
        self._reader.close()

    def _next_piece(self) -> bytes:
        sealed = self._take(_SEALED)
        self._last = self._ended and not self._ahead
        piece = self._decrypt(sealed, self._last)
        if piece is None:
            # A whole piece that is wrong only in being the last, or not, was ours: as elsewhere it still comes out.
            piece = self._decrypt(sealed, not self._last) if len(sealed) == _SEALED else None
            self._corrupt = self._damage(sealed, piece)
            if piece is None:
                raise self._corrupt
        elif not piece and self._number:
            raise Corrupt("the last piece of an age file is empty", _DAMAGED)
        self._number += 1
        return piece

    def _decrypt(self, sealed: bytes, last: bool) -> bytes | None:
        try:
            return self._cipher.decrypt(_nonce(self._number, last), sealed, None)
        except InvalidTag:
            return None

    def _damage(self, sealed: bytes, piece: bytes | None) -> Corrupt:
        where = f"piece {self._number + 1} of an age file"
        if piece is not None and self._last:
            return Corrupt(
                f"an age file ends behind its piece {self._number + 1}, which is not its last", _CUT
            )
        if piece is not None:
            return Corrupt(f"{where} is its last one, but more bytes follow", _DAMAGED)
        if len(sealed) < _SEALED:
            return Corrupt(f"{where} is cut short, or damaged", _CUT)
        return Corrupt(f"{where} is damaged, or another file's", _DAMAGED)

    def _take(self, n: int) -> bytes:
        """So many bytes, or what there is at the end; at least one more is read, to know whether it is the end."""
        while len(self._ahead) <= n and not self._ended:
            more = self._reader.read(max(n + 1 - len(self._ahead), 4 * _SEALED))
            self._ended = not more
            self._ahead += more
        taken, self._ahead = self._ahead[:n], self._ahead[n:]
        return taken


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


_CUT = "the file was not written to its end; use another copy"
_DAMAGED = "the stored bytes have changed; use another copy"
