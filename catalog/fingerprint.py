"""Is this the WAL that is stored? Told without a key, by a stanza in the header of every encrypted WAL file.

    -> walstream-sha256 END
    HMAC of the bytes up to END, HMAC of the page in which that lies

END is the end of the last byte that is not zero; behind it there are zeros up to the size of a segment. Both
are HMAC-SHA-256, under the salt of ``identity.json``, of a SHA-256. Other programs skip the stanza. Whoever has
the repository can check a guess of all these bytes with it; it tells nothing else (``docs/encryption.md``).

A header stands in front, so a file is read twice: to hash it, and to store it. The second time it comes from
memory, and hashing takes a fraction of the time of compressing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator

from catalog.age.header import Stanza, read_header
from catalog.comparison import LONGER, OTHER, SAME
from catalog.errors import Conflict
from catalog.sink import PIECE, Reader
from catalog.walpage import PAGE_SIZE

TYPE = "walstream-sha256"
_SIZE = 32


def fingerprint(raw: Reader, salt: bytes) -> Stanza:
    """The stanza of a segment, complete or partial, with these bytes."""
    sums = _Sums(raw)
    return Stanza([TYPE, str(sums.end)], _sealed(sums.digest, salt) + page_seal(sums.page, salt))


def page_seal(page: bytes, salt: bytes) -> bytes:
    """What a stanza says of the last page that is not all zeros."""
    return _sealed(hashlib.sha256(page).digest(), salt)


def sealed_page(stored: Reader, salt: bytes) -> tuple[int, Callable[[bytes], bool]]:
    """Where the last page of a stored segment is, and what tells whether bytes that begin there are that page.

    Of less than a page it says yes: that tells nothing. ``Conflict`` when the file carries no stanza of ours.
    """
    end, body = read_stanza(stored)

    def agrees(found: bytes) -> bool:
        return len(found) < PAGE_SIZE or hmac.compare_digest(page_seal(found[:PAGE_SIZE], salt), body[_SIZE:])

    return max(end - 1, 0) // PAGE_SIZE * PAGE_SIZE, agrees


def compare(stored: Reader, raw: Reader, salt: bytes, nbytes: int) -> str:
    """What an arriving segment of ``nbytes`` is, seen from the age file of the stored one.

    ``SAME``; ``LONGER`` when it goes on where the stored bytes end, as only a partial segment may; else ``OTHER``.
    Of a shorter one it cannot be told whether it is a beginning: that is ``OTHER`` too. ``Conflict`` when the
    stored file carries no stanza of ours.
    """
    end, body = read_stanza(stored)
    sums = _Sums(raw, end)
    begins_so = hmac.compare_digest(body[:_SIZE], _sealed(sums.beginning, salt))
    if sums.total != nbytes or sums.end < end or not begins_so:
        return OTHER
    return LONGER if sums.end > end else SAME


def read_stanza(stored: Reader) -> tuple[int, bytes]:
    """END, and the two HMACs one behind the other, of a stored age file."""
    for stanza in read_header(stored)[0].stanzas:
        if stanza.type == TYPE and len(stanza.arguments) == 2 and len(stanza.body) == 2 * _SIZE:
            end = stanza.arguments[1]
            if end.isascii() and end.isdecimal() and len(end) < 20:
                return int(end), stanza.body
    raise Conflict(
        "the stored copy is encrypted in another way than walstream's, so that another copy cannot be compared",
        "decrypt it and compare the two, or move one of them away",
    )


class _Sums:
    """Hashes of the bytes up to the last that is not zero, and of the first ``mark`` bytes; and the last page."""

    def __init__(self, raw: Reader, mark: int = 0) -> None:
        self.total = self.end = 0
        self.page = b""
        filled, beginning, zeros = hashlib.sha256(), hashlib.sha256(), 0
        for piece in _even_pieces(raw):
            if self.total < mark:
                beginning.update(memoryview(piece)[: mark - self.total])
            if length := len(piece.rstrip(b"\0")):
                for start in range(0, zeros, PIECE):
                    filled.update(bytes(min(PIECE, zeros - start)))
                filled.update(memoryview(piece)[:length])
                zeros = 0
                self.end = self.total + length
                start = (length - 1) // PAGE_SIZE * PAGE_SIZE
                self.page = piece[start : start + PAGE_SIZE]
            zeros += len(piece) - length
            self.total += len(piece)
        self.digest = filled.digest()
        self.beginning = beginning.digest()


def _even_pieces(raw: Reader) -> Iterator[bytes]:
    """Pieces that begin where pages do."""
    held = b""
    while piece := raw.read(PIECE):
        held = held + piece if held else piece
        whole = len(held) // PAGE_SIZE * PAGE_SIZE
        if whole:
            yield held[:whole]
            held = held[whole:]
    if held:
        yield held


def _sealed(digest: bytes, salt: bytes) -> bytes:
    return hmac.digest(salt, digest, "sha256")
