"""Recipients and identities as text: what is wrong with one that is none, in words that help.

No cryptography is loaded here, so that reading the configuration does not pay for it. An identity is a
secret: no message quotes what may be one.
"""

from __future__ import annotations

from catalog.age import bech32
from catalog.errors import Malformed

RECIPIENT = "age"
IDENTITY = "AGE-SECRET-KEY-"
_SIZE = 32


def recipient_bytes(text: str) -> bytes:
    """The public key in a recipient's text; ``Malformed`` when it is none."""
    if text.upper().startswith("AGE-SECRET-KEY-"):
        raise Malformed(
            "this is an identity, which is secret, and not a recipient",
            "name its recipient (age1...), which 'walstream keygen -y FILE' prints; and remove the identity from "
            "here, because whoever reads it can read the backups",
        )
    if text.startswith("ssh-"):
        raise Malformed(f"SSH keys cannot be recipients: {text!r}", _MAKE)
    try:
        prefix, public = bech32.decode(text)
    except Malformed as error:
        raise Malformed(f"not an age recipient: {text!r}: {error}", _COPY) from None
    if prefix != RECIPIENT and prefix.lower() == RECIPIENT:
        raise Malformed(f"recipients are written in small letters: {text!r}", _COPY)
    if prefix != RECIPIENT:
        raise Malformed(f"a recipient of a kind that walstream does not know: {text!r}", _MAKE)
    if len(public) != _SIZE:
        raise Malformed(f"an age recipient of a wrong length: {text!r}", _COPY)
    return public


def identity_bytes(text: str) -> bytes:
    """The secret key in an identity's text; ``Malformed`` when it is none."""
    if text.lower().startswith("age1"):
        raise Malformed(f"this is a recipient, not an identity: {text!r}", _FIND)
    if text.startswith(("AGE-PLUGIN-", "AGE-SECRET-KEY-PQ-", "-----BEGIN")):
        raise Malformed("an identity of a kind that walstream does not know", _KINDS)
    try:
        prefix, secret = bech32.decode(text)
    except Malformed as error:
        raise Malformed(f"not an age identity: {error}", _FIND) from None
    if prefix == IDENTITY.lower():
        raise Malformed("identities are written in capital letters", _FIND)
    if prefix != IDENTITY:
        raise Malformed("not an age identity: it does not begin with AGE-SECRET-KEY-1", _FIND)
    if len(secret) != _SIZE:
        raise Malformed("an age identity of a wrong length", _FIND)
    return secret


_COPY = "copy it anew: it begins with age1, and 'walstream keygen -y FILE' prints it"
_MAKE = "walstream encrypts for X25519 recipients (age1...); 'walstream keygen' makes one"
_FIND = "an identity begins with AGE-SECRET-KEY-1, and is what 'walstream keygen' or 'age-keygen' wrote"
_KINDS = "walstream opens files with X25519 identities (AGE-SECRET-KEY-1...); 'age -d' may know this kind"
