"""Who an age file is for, and who can open it: X25519 keys, and passphrases to read.

Recipients are public, identities secret: no message of an error holds an identity. A file key, which
encrypts one file, is wrapped for each recipient by itself; whoever unwraps it checks its seal over the
header.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from catalog.age import bech32, names
from catalog.age.header import Header, Stanza, from_base64, sealed_part, to_base64, with_mac
from catalog.errors import Corrupt, IdentityError, Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Opener(Protocol):
        """Whoever may be able to unwrap a file key; None when no stanza is meant for them."""

        def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None: ...


FILE_KEY_SIZE = 16
_SHARE_SIZE = 32
_WRAPPED_SIZE = FILE_KEY_SIZE + 16
_NO_NONCE = bytes(12)  # every wrapping key is used once

_X25519 = "X25519"
_SCRYPT = "scrypt"
_SALT_SIZE = 16
# 2^22 takes 4 GiB for some seconds; what the stock tool writes is 2^18.
_MOST_WORK = 22


class Recipient:
    """The public key of somebody who can open what is encrypted for them: ``age1…``."""

    __slots__ = ("_key", "_public")

    def __init__(self, public: bytes) -> None:
        self._public = public
        self._key = X25519PublicKey.from_public_bytes(public)

    @classmethod
    def parse(cls, text: str) -> Recipient:
        """The recipient of that text; ``Malformed`` says what is wrong with it."""
        return cls(names.recipient_bytes(text))

    def __str__(self) -> str:
        return bech32.encode(names.RECIPIENT, self._public)

    def wrap(self, file_key: bytes) -> Stanza:
        """The file key, for this recipient only."""
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        try:
            secret = ephemeral.exchange(self._key)
        except ValueError:
            raise Malformed(f"nobody can have the key of recipient {str(self)!r}", "make a new one") from None
        key = _derive(secret, share + self._public, b"age-encryption.org/v1/X25519")
        body = ChaCha20Poly1305(key).encrypt(_NO_NONCE, file_key, None)
        return Stanza((_X25519, to_base64(share).decode("ascii")), body)


class Identity:
    """A secret key: ``AGE-SECRET-KEY-1…``."""

    __slots__ = ("_key", "recipient")

    def __init__(self, secret: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self.recipient = Recipient(self._key.public_key().public_bytes_raw())

    @classmethod
    def new(cls) -> Identity:
        """A new one, from the system's source of randomness."""
        return cls(os.urandom(_SHARE_SIZE))

    @classmethod
    def parse(cls, text: str) -> Identity:
        """The identity of that text; ``Malformed`` says what is wrong, without the text."""
        return cls(names.identity_bytes(text))

    def secret_text(self) -> str:
        """The text that ``parse`` reads, for the file of its owner and for nothing else."""
        return bech32.encode(names.IDENTITY.lower(), self._key.private_bytes_raw()).upper()

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The file key, if one of the stanzas is for this identity; ``Corrupt`` if one is malformed."""
        for stanza in stanzas:
            if stanza.type == _X25519 and (file_key := self._unwrap(stanza)) is not None:
                return file_key
        return None

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        share = _argument(stanza, 2, _SHARE_SIZE)
        try:
            secret = self._key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:
            raise Corrupt("an age header holds an X25519 share that is no key", _DAMAGED) from None
        salt = share + self._key.public_key().public_bytes_raw()
        return _open(_derive(secret, salt, b"age-encryption.org/v1/X25519"), stanza)


class Passphrase:
    """Opens what was encrypted with a passphrase; walstream does not write such files."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        for stanza in stanzas:
            if stanza.type == _SCRYPT:
                return self._unwrap(stanza)
        return None

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # of no use to nearly everybody

        salt = _argument(stanza, 3, _SALT_SIZE)
        digits = stanza.arguments[2]
        if not (digits.isascii() and digits.isdigit()) or digits.startswith("0"):
            raise Corrupt("the work factor in an age header is no number", _DAMAGED)
        if len(digits) > 3 or int(digits) > _MOST_WORK:
            raise Corrupt(
                f"the work factor {digits[:20]} in an age header is too large (the most is {_MOST_WORK})",
                "opening the file would take very long and very much memory; the age tool may do it",
            )
        salt = b"age-encryption.org/v1/scrypt" + salt
        kdf = Scrypt(salt=salt, length=32, n=1 << int(digits), r=8, p=1)
        return _open(kdf.derive(self._text.encode("utf-8")), stanza)


def wrap(
    recipients: Sequence[Recipient], extra: Sequence[Stanza] = (), file_key: bytes = b""
) -> tuple[bytes, bytes]:
    """A header for these recipients, and its file key: a new one unless one is given.

    The ``extra`` stanzas stand behind theirs; they are sealed, and readable without a key.
    """
    if not recipients:
        raise ValueError("nobody could open a file without recipients")
    file_key = file_key or os.urandom(FILE_KEY_SIZE)
    sealed = sealed_part([*(recipient.wrap(file_key) for recipient in recipients), *extra])
    return with_mac(sealed, _mac(file_key, sealed).finalize()), file_key


def unwrap(header: Header, openers: Sequence[Opener]) -> bytes:
    """The file key of a file with this header.

    ``IdentityError`` when none of the ``openers`` fits, ``Corrupt`` when the header was altered.
    """
    scrypt = sum(stanza.type == _SCRYPT for stanza in header.stanzas)
    if scrypt and len(header.stanzas) > 1:
        raise Corrupt("an age header has a passphrase and other recipients beside it", _DAMAGED)
    for opener in openers:
        file_key = opener.unwrap(header.stanzas)
        if file_key is None:
            continue
        try:
            _mac(file_key, header.sealed).verify(header.mac)
        except InvalidSignature:
            raise Corrupt("an age header was altered: its seal does not fit", _DAMAGED) from None
        return file_key
    raise _no_match(len(openers), bool(scrypt))


def payload_key(file_key: bytes, nonce: bytes) -> bytes:
    """The key of the bytes behind the header."""
    return _derive(file_key, nonce, b"payload")


def _no_match(given: int, passphrase: bool) -> IdentityError:
    tried = "the identity given does not open it" if given == 1 else f"none of {given} identities opens it"
    if passphrase:
        return IdentityError(
            f"the file is encrypted with a passphrase, and {tried}",
            "walstream does not write such files; the age tool asks for the passphrase: age -d FILE",
        )
    return IdentityError(f"the file is encrypted, and {tried}", _WHOSE)


def _argument(stanza: Stanza, arguments: int, size: int) -> bytes:
    """The bytes of a stanza's second argument; ``Corrupt`` unless all of it has the form that its type demands."""
    if len(stanza.arguments) != arguments:
        raise Corrupt(
            f"an age header holds a stanza {stanza.type} with a wrong number of arguments", _DAMAGED
        )
    data = from_base64(stanza.arguments[1].encode("ascii"))
    if len(data) != size or len(stanza.body) != _WRAPPED_SIZE:
        raise Corrupt(f"an age header holds a stanza {stanza.type} of a wrong length", _DAMAGED)
    return data


def _open(key: bytes, stanza: Stanza) -> bytes | None:
    try:
        return ChaCha20Poly1305(key).decrypt(_NO_NONCE, stanza.body, None)
    except InvalidTag:
        return None


def _derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def _mac(file_key: bytes, sealed: bytes) -> HMAC:
    mac = HMAC(_derive(file_key, b"", b"header"), SHA256())
    mac.update(sealed)
    return mac


_WHOSE = (
    "an age file does not tell whose identities open it: give that of a recipient whom encryption_recipients named "
    "when the file was written; after a rewrap, of one who was named then"
)
_DAMAGED = "the stored bytes have changed; use another copy"
