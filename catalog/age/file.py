"""Whole age files, both ways: a sink that encrypts for recipients, a reader for whoever has an identity.

header, file_key = wrap(recipients)     the header goes first, then EncryptingSink(file_key, sink)
open_encrypted(reader, identities)      the other way
read_header(reader)                     what stands in front, without a key, and a reader of the rest
"""

from __future__ import annotations

from catalog.age.header import read_header
from catalog.age.keys import Recipient, unwrap, wrap
from catalog.age.payload import DecryptingReader, EncryptingSink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.age.header import Stanza
    from catalog.age.keys import Opener
    from catalog.sink import Reader, Sink


def encrypted(sink: Sink, recipients: Sequence[Recipient], extra: Sequence[Stanza] = ()) -> Sink:
    """A sink in front of ``sink``, which gets an age file for these recipients."""
    header, file_key = wrap(recipients, extra)
    sink.write(header)
    return EncryptingSink(file_key, sink)


def open_encrypted(reader: Reader, openers: Sequence[Opener]) -> Reader:
    """A reader of what was encrypted; the header is read and checked at once.

    ``IdentityError`` when no opener fits, ``Corrupt`` for what was altered, here or while reading. Closing it
    closes ``reader``; it stays the caller's when this fails.
    """
    header, rest = read_header(reader)
    return DecryptingReader(unwrap(header, openers), rest)
