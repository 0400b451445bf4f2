"""Other implementations of age open what we write, and we open what they write: pyrage, and the stock tool."""

from __future__ import annotations

import random

import pytest
from support.age import OTHERS, OURS, decrypt, encrypt, lock, tool

from catalog.age.header import Stanza
from catalog.age.keys import Identity, Passphrase
from catalog.age.payload import PIECE

SIZES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE - 1, (32 << 20) + 1]
CONTENT = random.Random(7).randbytes(max(SIZES))
EXTRA = [Stanza(("walstream-sha256",), bytes(32))]

sizes = pytest.mark.parametrize("size", SIZES)


@pytest.fixture
def pyrage():
    return pytest.importorskip("pyrage", reason="NOT TESTED AGAINST RAGE: pyrage is not installed")


@pytest.fixture
def identity_file(tmp_path):
    path = tmp_path / "identity"
    path.write_text(OTHERS.secret_text() + "\n")
    return str(path)


@sizes
def test_pyrage_opens_what_we_write_with_either_identity(pyrage, size):
    stored = encrypt(CONTENT[:size], OURS.recipient, OTHERS.recipient, extra=EXTRA)
    for identity in (OURS, OTHERS):
        theirs = pyrage.x25519.Identity.from_str(identity.secret_text())
        assert pyrage.decrypt(stored, [theirs]) == CONTENT[:size]


@sizes
def test_we_open_what_pyrage_writes(pyrage, size):
    recipients = [pyrage.x25519.Recipient.from_str(str(each.recipient)) for each in (OURS, OTHERS)]
    stored = pyrage.encrypt(CONTENT[:size], recipients)
    assert decrypt(stored, OURS) == decrypt(stored, OTHERS) == CONTENT[:size]


def test_what_is_locked_with_a_passphrase_opens_here_and_there(pyrage):
    # Made by hand: what pyrage locks takes it a second and a gigabyte to open, on purpose.
    stored = lock(b"content", "correct horse")
    assert decrypt(stored, Passphrase("correct horse")) == b"content"
    assert pyrage.passphrase.decrypt(stored, "correct horse") == b"content"


def test_keys_of_pyrage_are_keys_here(pyrage):
    theirs = pyrage.x25519.Identity.generate()
    assert str(Identity.parse(str(theirs)).recipient) == str(theirs.to_public())


@sizes
def test_the_stock_tool_opens_what_we_write(size, identity_file):
    stored = encrypt(CONTENT[:size], OURS.recipient, OTHERS.recipient, extra=EXTRA)
    assert tool("age", "-d", "-i", identity_file, given=stored) == CONTENT[:size]


@sizes
def test_we_open_what_the_stock_tool_writes(size):
    given = ["-r", str(OURS.recipient), "-r", str(OTHERS.recipient)]
    stored = tool("age", *given, given=CONTENT[:size])
    assert decrypt(stored, OURS) == decrypt(stored, OTHERS) == CONTENT[:size]


def test_what_the_stock_tool_writes_in_letters_is_refused():
    from catalog.errors import Corrupt

    stored = tool("age", "-a", "-r", str(OURS.recipient), given=b"content")
    with pytest.raises(Corrupt, match="armored"):
        decrypt(stored)


def test_keys_of_the_stock_tool_are_keys_here(identity_file):
    assert tool("age-keygen", "-y", identity_file).decode().strip() == str(OTHERS.recipient)
