"""From a stored file's suffix to its bytes: what a name may end with, and what undoes it.

Stored files are standard ones, of any number of frames one behind another, so that they read alike here and
with the format's own tool. Encryption came behind compression (``.zst.age``) and is undone first. The libraries
are behind ``catalog.codecs``; ``catalog.codec`` is the way forth. On the path of ``get-wal``.
"""

from __future__ import annotations

from catalog.errors import Corrupt, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from catalog.identity import Identities
    from catalog.sink import Reader

    class Decompressor(Protocol):
        """Undoes one frame, in the manner of ``bz2.BZ2Decompressor``."""

        @property
        def eof(self) -> bool: ...
        @property
        def needs_input(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...
        def decompress(self, data: bytes, max_length: int) -> bytes: ...

    class _Door(Protocol):
        """What every module of ``catalog.codecs`` has; those that write have ``compress_frame`` too."""

        @property
        def DAMAGE(self) -> tuple[type[Exception], ...]: ...
        def new_decompressor(self) -> Decompressor: ...


SUFFIXES = (".gz", ".lz4", ".zst", ".bz2", ".xz")
ENCRYPTED = ".age"
# All that a stored file's name may end with, plain ones first.
ENDINGS = ("", *SUFFIXES, ENCRYPTED, *(suffix + ENCRYPTED for suffix in SUFFIXES))

# How much is read from the inner reader at once, and the most that one ``read`` returns.
_FEED = 128 * 1024
_MOST = 1024 * 1024
A_FILE = "the file"

_CUT = "the file was not written to its end; fetch it again, or use another copy"
_DAMAGED = (
    "the stored bytes have changed, are of another format, or have others behind them; use another copy"
)


def split_suffix(name: str) -> tuple[str, str]:
    """A file's name without the suffix of a codec, and that suffix ("" when there is none)."""
    bare = name.removesuffix(ENCRYPTED) or name
    for suffix in SUFFIXES:
        if bare.endswith(suffix) and bare != suffix:
            bare = bare[: -len(suffix)]
            break
    return bare, name[len(bare) :]


def decoder(reader: Reader, suffix: str, identities: Identities | None = None, what: str = A_FILE) -> Reader:
    """A reader of the raw bytes of what ``reader`` has, stored under a name with this suffix.

    What is encrypted is opened with one of the ``identities`` when it is read first, so that whoever only looks
    whether it is there needs none; ``IdentityError`` comes from ``read``. Errors call the file ``what``.

    Its ``read`` raises ``Corrupt`` for damaged bytes, for a last frame that is cut short, for bytes
    behind it that are no frame, and for no frame at all: only a file without suffix may be empty.
    Closing it closes ``reader``. At most 1 MiB comes from one ``read``; what the formats themselves
    need in memory is at most 128 MB (a window of zstd or xz), and about 10 MB for what we write.
    """
    if suffix.endswith(ENCRYPTED):
        # Imported only here: get-wal of what is not encrypted does without.
        from catalog.identity import EncryptedReader

        reader, suffix = EncryptedReader(reader, identities, what), suffix.removesuffix(ENCRYPTED)
    return _Decoder(reader, _door(suffix), suffix, what) if suffix else reader


def decompress_frame(data: bytes, size: int, suffix: str) -> bytes:
    """The ``size`` bytes that one complete frame holds; ``Corrupt`` if it is damaged or holds another number."""
    door = _door(suffix)
    frame = door.new_decompressor()
    try:
        raw = frame.decompress(data, size + 1)
        if not frame.eof and len(raw) == size:
            raw += frame.decompress(b"", 1)  # some libraries check the end only when asked for more
    except door.DAMAGE as error:
        raise Corrupt(f"stored {suffix!r} bytes are damaged: {error}", _DAMAGED) from error
    if not frame.eof or frame.unused_data or len(raw) != size:
        raise Corrupt(f"stored {suffix!r} bytes are damaged: a frame does not hold {size} bytes", _DAMAGED)
    return raw


class _Decoder:
    """Pulls stored bytes and hands out raw ones, frame by frame."""

    __slots__ = (
        "_complete",
        "_corrupt",
        "_door",
        "_ended",
        "_frame",
        "_pending",
        "_reader",
        "_suffix",
        "_what",
    )

    def __init__(self, reader: Reader, door: _Door, suffix: str, what: str) -> None:
        self._reader = reader
        self._door = door
        self._suffix = suffix
        self._what = what
        self._frame: Decompressor | None = None  # None between frames
        self._pending = b""  # read, and not yet given to a frame
        self._complete = 0  # frames that came to their end
        self._ended = False
        self._corrupt: Corrupt | None = None

    def read(self, n: int, /) -> bytes:
        if n < 0:
            raise ValueError("read needs a size")
        # Once corrupt, always corrupt: some libraries would start afresh in the middle.
        if self._corrupt is not None:
            raise self._corrupt
        try:
            return self._next_piece(min(n, _MOST)) if n else b""
        except Corrupt as error:
            named = "" if self._what == A_FILE else f" ({self._what})"
            self._corrupt = Corrupt(f"{error.message}{named}", error.hint)
            raise self._corrupt from error

    def close(self) -> None:
        self._frame = None
        self._pending = b""
        self._reader.close()

    def _next_piece(self, n: int) -> bytes:
        while True:
            data = b""
            if self._frame is None or self._frame.needs_input:
                data = self._take()
            if self._frame is None:
                if not data:
                    if not self._complete:
                        raise Corrupt(f"a file stored as {self._suffix!r} is empty", _CUT)
                    return b""
                self._frame = self._door.new_decompressor()
            piece = self._decompress(self._frame, data, n)
            if self._frame.eof:
                self._pending = self._frame.unused_data
                self._frame = None
                self._complete += 1
            elif self._ended and not piece:
                raise Corrupt(f"stored {self._suffix!r} bytes end in the middle of a frame", _CUT)
            if piece:
                return piece

    def _take(self) -> bytes:
        data, self._pending = self._pending, b""
        if not data and not self._ended:
            data = self._reader.read(_FEED)
            self._ended = not data
        return data

    def _decompress(self, frame: Decompressor, data: bytes, n: int) -> bytes:
        try:
            return frame.decompress(data, n)
        except self._door.DAMAGE as error:
            where = f"stored {self._suffix!r} bytes are damaged in frame {self._complete + 1}"
            raise Corrupt(f"{where}: {error}", _DAMAGED) from error


# Libraries are imported in this function, not above, because get-wal starts anew for every segment and
# must load only the one library that it needs: together they take longer than it does.


def _door(suffix: str) -> _Door:
    if suffix == ".zst":
        from catalog.codecs import zstd

        return zstd
    if suffix == ".lz4":
        from catalog.codecs import lz4

        return lz4
    if suffix == ".gz":
        from catalog.codecs import gzip

        return gzip
    if suffix == ".bz2":
        from catalog.codecs import bzip2

        return bzip2
    if suffix == ".xz":
        from catalog.codecs import xz

        return xz
    raise UsageError(f"unknown suffix {suffix!r}", f"known are {', '.join(SUFFIXES)}")
