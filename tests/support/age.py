"""The age format in tests: keys that never change, files made and opened, the public vectors, other tools."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from support.streams import Given, Kept, drain

from catalog.age.file import encrypted, open_encrypted
from catalog.age.header import Stanza, sealed_part, to_base64, with_mac
from catalog.age.keys import Identity, Recipient
from catalog.age.payload import EncryptingSink

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "node_modules" / "cctv-age" / "index.js"
NO_VECTORS = "the public test vectors are not installed: 'make test-servers' brings them, from npm"

OURS = Identity(bytes(range(32)))
OTHERS = Identity(bytes(range(1, 33)))


def encrypt(data: bytes, *recipients: Recipient, cut: int = 1 << 30, extra=()) -> bytes:
    """An age file, written in pieces of at most ``cut`` bytes; for OURS unless others are named."""
    kept = Kept()
    sink = encrypted(kept, recipients or [OURS.recipient], extra)
    for start in range(0, len(data), cut):
        sink.write(data[start : start + cut])
    sink.finish()
    assert (kept.finished, kept.aborted) == (1, 0)
    return kept.content


def decrypt(stored: bytes, *openers, n: int = 1 << 20, most: int = 1 << 30) -> bytes:
    """What is in an age file; with the key of OURS unless others are given."""
    return drain(open_encrypted(Given(stored, most), openers or [OURS]), n)


def lock(data: bytes, passphrase: str, work: int = 4) -> bytes:
    """An age file that a passphrase opens, quickly; walstream itself writes none."""
    file_key, salt = os.urandom(16), os.urandom(16)
    kdf = Scrypt(salt=b"age-encryption.org/v1/scrypt" + salt, length=32, n=1 << work, r=8, p=1)
    body = ChaCha20Poly1305(kdf.derive(passphrase.encode())).encrypt(bytes(12), file_key, None)
    stanza = Stanza(["scrypt", to_base64(salt).decode(), str(work)], body)
    sealed = sealed_part([stanza])
    mac = HMAC(HKDF(SHA256(), 32, b"", b"header").derive(file_key), SHA256())
    mac.update(sealed)
    kept = Kept()
    kept.write(with_mac(sealed, mac.finalize()))
    sink = EncryptingSink(file_key, kept)
    sink.write(data)
    sink.finish()
    return kept.content


def tool(name: str, *arguments: str, given: bytes = b"") -> bytes:
    """What the stock tool (``age``, ``age-keygen``) writes; skips where it is not installed."""
    command = shutil.which(name)
    if command is None:
        pytest.skip(f"NOT TESTED AGAINST THE STOCK TOOL: {name!r} is not installed (Debian: apt install age)")
    done = subprocess.run([command, *arguments], input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass(frozen=True)
class Vector:
    """One public test vector: a file, who is to open it, and what is to come of that."""

    name: str
    expect: str
    payload: str | None
    identities: tuple[str, ...]
    passphrases: tuple[str, ...]
    armored: bool
    file: bytes


@cache
def vectors() -> tuple[Vector, ...]:
    """All of them; none when they are not installed. The package is a script that is only read, never run."""
    if not VECTORS.exists():
        return ()
    script = VECTORS.read_text(encoding="ascii")
    found = re.findall(
        r'^// \.\./testdata/(\w+)\nvar \w+ = __toBinary\("([A-Za-z0-9+/=]*)"\);$', script, re.MULTILINE
    )
    assert len(found) == script.count('= __toBinary("') > 100
    return tuple(_vector(name, base64.b64decode(text)) for name, text in found)


def _vector(name: str, content: bytes) -> Vector:
    head, _, file = content.partition(b"\n\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\n")]
    known = {"expect", "payload", "file key", "identity", "passphrase", "armored", "compressed", "comment"}
    assert {key for key, _ in lines} <= known

    def all_of(wanted: str) -> tuple[str, ...]:
        return tuple(value for key, value in lines if key == wanted)

    if all_of("compressed"):
        assert all_of("compressed") == ("zlib",)
        file = zlib.decompress(file)
    payload = all_of("payload")
    return Vector(
        name,
        *all_of("expect"),
        payload[0] if payload else None,
        all_of("identity"),
        all_of("passphrase"),
        all_of("armored") == ("yes",),
        file,
    )
