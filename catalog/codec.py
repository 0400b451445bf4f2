"""How bytes are compressed and encrypted when they are stored: a codec's name, its level, and who may read it.

The one table of names, suffixes and levels is here; the libraries are behind ``catalog.codecs``.
``catalog.frames`` cuts what is stored into frames, ``catalog.decoding`` is the way back.
"""

from __future__ import annotations

from catalog.decoding import ENCRYPTED
from catalog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.sink import BytesLike

NAMES = ("none", "gzip", "lz4", "zstd")
# Lowest, highest and default level. Kept here and not behind the doors, so that reading the
# configuration loads no library.
LEVELS = {"gzip": (1, 9, 1), "lz4": (1, 12, 1), "zstd": (-7, 22, 1)}

_SUFFIX_OF = {"none": "", "gzip": ".gz", "lz4": ".lz4", "zstd": ".zst"}


class Codec:
    """A compression and its level, and who may read the result, for writing.

    ``level`` is None for ``none``, which has no levels; without ``recipients`` (``age1...``) nothing is encrypted.
    """

    __slots__ = ("level", "name", "recipients")
    name: str
    level: int | None
    recipients: tuple[str, ...]

    def __init__(self, name: str, level: int | None, recipients: tuple[str, ...] = ()) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "level", level)
        object.__setattr__(self, "recipients", recipients)

    @classmethod
    def of(cls, name: str, level: int | None = None) -> Codec:
        """The codec of that name at that level, or at its default level; ``UsageError`` if there is none."""
        if name not in NAMES:
            raise UsageError(f"unknown compression {name!r}", _nearest(name))
        if name == "none":
            if level is not None:
                raise UsageError(f"compression 'none' has no levels, but level {level} was given")
            return cls(name, None)
        lowest, highest, default = LEVELS[name]
        if level is None:
            level = default
        if not lowest <= level <= highest:
            raise UsageError(
                f"compression level {level} is out of range for {name!r}",
                f"{name} takes levels from {lowest} to {highest}; {default} is the default",
            )
        return cls(name, level)

    def encrypted(self, recipients: tuple[str, ...]) -> Codec:
        """The same compression, for these recipients only; ``Malformed`` when one of them is none."""
        # Imported only here: whoever reads needs no recipients.
        from catalog.age.names import recipient_bytes

        for text in recipients:
            recipient_bytes(text)
        return Codec(self.name, self.level, recipients)

    @property
    def clear(self) -> Codec:
        """The same compression, for everybody to read."""
        return Codec(self.name, self.level)

    @property
    def suffix(self) -> str:
        """What a file's name gets behind it."""
        return _SUFFIX_OF[self.name] + (ENCRYPTED if self.recipients else "")

    def compressor(self) -> Callable[[BytesLike], bytes] | None:
        """The function that turns bytes into one complete frame; None for ``none``."""
        level = self.level
        if level is None:
            return None
        compress_frame = _compress_frame(self.name)
        return lambda data: compress_frame(data, level)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a codec cannot be changed")

    def __reduce__(self) -> tuple[type[Codec], tuple[str, int | None, tuple[str, ...]]]:
        return Codec, (self.name, self.level, self.recipients)

    def __repr__(self) -> str:
        recipients = f", {self.recipients}" if self.recipients else ""
        return f"Codec({self.name!r}, {self.level}{recipients})"

    def __hash__(self) -> int:
        return hash((self.name, self.level, self.recipients))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Codec) and self.__reduce__() == other.__reduce__()


def _nearest(name: str) -> str:
    import difflib  # only for this message; needs re, which get-wal does without

    accepted = f"accepted are {', '.join(NAMES)}"
    near = difflib.get_close_matches(name.lower(), NAMES, 1)
    return f"did you mean {near[0]!r}? {accepted}" if near else accepted


# Libraries are imported in this function, not above, so that only the one is loaded that is needed.


def _compress_frame(name: str) -> Callable[[BytesLike, int], bytes]:
    if name == "zstd":
        from catalog.codecs import zstd

        return zstd.compress_frame
    if name == "lz4":
        from catalog.codecs import lz4

        return lz4.compress_frame
    from catalog.codecs import gzip

    return gzip.compress_frame
