"""Encrypted WAL on the shelf: only the key opens it; without one a second copy is still known for what it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.age import OTHERS, OURS, decrypt, encrypt
from support.filed_wal import IDENTITY, filing, giving, name, segment_bytes
from support.memory_storage import MemoryStorage
from support.streams import Given, drain
from support.values import MB

from catalog import fingerprint
from catalog.age.header import read_header
from catalog.codec import Codec
from catalog.decoding import decoder
from catalog.errors import Conflict, IdentityError, Malformed, StorageError
from catalog.identity import Identities
from catalog.wal import WalShelf

RECIPIENTS = (str(OURS.recipient), str(OTHERS.recipient))
ENCRYPTED = Codec.of("zstd").encrypted(RECIPIENTS)
WAL = segment_bytes(7)
OTHER = segment_bytes(7, fill=b"\x5a")
PARTIAL = f"{name(7)}.partial"


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def identities(tmp_path):
    path = tmp_path / "identity"
    path.write_text(OTHERS.secret_text())
    path.chmod(0o600)
    return Identities(str(path))


def put(storage, wal_name, data, codec=ENCRYPTED):
    with filing(storage, codec) as ours:
        return ours.put(wal_name, giving(data))


def cut(nbytes, data=WAL):
    """A partial segment: so many bytes, and zeros."""
    return data[:nbytes] + bytes(len(WAL) - nbytes)


def end_of(data):
    return len(data.rstrip(b"\0"))


@pytest.mark.parametrize("compression", ["none", "zstd", "lz4", "gzip"])
def test_a_segment_is_stored_for_its_recipients_only(storage, identities, compression):
    codec = Codec.of(compression).encrypted(RECIPIENTS)
    assert put(storage, name(7), WAL, codec) is True
    (key,) = storage.content
    assert key.endswith(f"{name(7)}{codec.suffix}") and codec.suffix.endswith(".age")
    assert b"\xa5" * 100 not in storage.content[key]
    assert drain(WalShelf(storage, identities).open(name(7))) == WAL
    inner = decrypt(storage.content[key], OURS)
    assert drain(decoder(Given(inner), codec.suffix.removesuffix(".age"))) == WAL


def test_whether_it_is_there_and_its_name_are_known_without_a_key(storage):
    put(storage, name(7), WAL)
    shelf = WalShelf(storage)
    assert shelf.holds(name(7)) and list(shelf.names()) == [name(7)]
    with pytest.raises(IdentityError, match=name(7)):
        shelf.open(name(7)).read(1)


@pytest.mark.parametrize("again", [ENCRYPTED, Codec.of("none"), Codec.of("lz4").encrypted(RECIPIENTS[:1])])
def test_an_identical_second_copy_is_known_without_a_key(storage, again):
    put(storage, name(7), WAL)
    before = dict(storage.content)
    assert put(storage, name(7), WAL, again) is False
    assert storage.content == before and storage.synced == list(before)


@pytest.mark.parametrize(
    "other", [OTHER, cut(5000), WAL[:-1] + b"x", WAL[:-8192], WAL + b"x", WAL + bytes(8192)]
)
def test_another_one_is_refused_without_a_key(storage, other):
    put(storage, name(7), WAL)
    before = dict(storage.content)
    with pytest.raises(Conflict):
        put(storage, name(7), other)
    assert storage.content == before


def test_what_was_stored_clear_is_compared_as_it_is(storage):
    put(storage, name(7), WAL, Codec.of("zstd"))
    assert put(storage, name(7), WAL) is False
    with pytest.raises(Conflict):
        put(storage, name(7), OTHER)


def test_a_longer_copy_of_a_partial_segment_takes_the_place_of_the_stored_one(storage, identities):
    first, second = cut(300_000), cut(700_001)
    assert put(storage, PARTIAL, first) is True
    assert put(storage, PARTIAL, first) is False
    assert put(storage, PARTIAL, second) is True
    assert drain(WalShelf(storage, identities).open(PARTIAL)) == second
    assert len(storage.content) == 1


def test_a_shorter_or_another_partial_segment_is_refused_and_nothing_is_lost(storage):
    put(storage, PARTIAL, cut(300_000))
    before = dict(storage.content)
    with pytest.raises(Conflict, match="encrypted, so that cannot be told") as caught:
        put(storage, PARTIAL, cut(100_000))
    assert caught.value.hint
    with pytest.raises(Conflict):
        put(storage, PARTIAL, cut(400_000, OTHER))
    assert storage.content == before


def test_a_complete_segment_that_only_seems_to_go_on_is_another_one(storage):
    put(storage, name(7), cut(300_000))
    with pytest.raises(Conflict):
        put(storage, name(7), WAL)


def test_a_copy_that_another_program_encrypted_cannot_be_compared(storage):
    put(storage, name(7), WAL)
    (key,) = storage.content
    storage.content[key] = encrypt(WAL)
    with pytest.raises(Conflict, match="cannot be compared"):
        put(storage, name(7), WAL)


def test_histories_and_labels_stay_clear(storage):
    put(storage, "00000002.history", b"1\t0/700028\tno recovery target specified\n")
    put(storage, f"{name(7)}.00000028.backup", b"START WAL LOCATION: 0/28\n")
    assert not any(key.endswith(".age") for key in storage.content)


def test_a_segment_that_is_wrong_is_refused_as_before(storage):
    with pytest.raises(Malformed):
        put(storage, name(7), WAL[:-1])
    with pytest.raises(Malformed):
        put(storage, name(8), WAL)
    assert storage.content == {}


def test_a_local_file_is_not_linked_but_encrypted(tmp_path):
    from catalog.local_storage import LocalStorage

    (tmp_path / "spooled").write_bytes(WAL)
    storage = LocalStorage(str(tmp_path / "repository"))
    with filing(storage, Codec.of("none").encrypted(RECIPIENTS)) as ours:
        ours.put(name(7), giving(WAL), str(tmp_path / "spooled"))
    (stored,) = (tmp_path / "repository").rglob("*.age")
    assert decrypt(stored.read_bytes(), OURS) == WAL


def test_a_full_disk_at_the_header_leaves_nothing_open(storage):
    class Full(MemoryStorage):
        aborted = 0

        def write(self, key):
            return self

        def abort(self):
            self.aborted += 1

    full = Full()
    full.write = lambda *given: full if isinstance(given[0], str) else fail()

    def fail():
        raise StorageError("cannot write: No space left on device")

    with pytest.raises(StorageError):
        put(full, name(7), WAL)
    assert full.aborted


@given(st.binary(max_size=40000).map(lambda data: data + b"\1"), st.integers(1, 4), st.integers(1, 9000))
def test_a_fingerprint_does_not_depend_on_how_the_bytes_are_cut(data, pages, most):
    raw = data + bytes(-len(data) % 8192 + pages * 8192)
    stanza = fingerprint.fingerprint(Given(raw, most), IDENTITY.salt)
    assert stanza.arguments == (fingerprint.TYPE, str(len(data)))
    assert stanza.body == fingerprint.fingerprint(Given(raw), IDENTITY.salt).body
    assert stanza.body != fingerprint.fingerprint(Given(raw), b"another salt").body
    last_page = (len(data) - 1) // 8192 * 8192
    assert stanza.body[32:] == fingerprint.page_seal(raw[last_page : last_page + 8192], IDENTITY.salt)


@given(st.integers(0, 60000), st.integers(0, 60000), st.booleans(), st.integers(1, 9000))
def test_copies_compare_as_their_bytes_do(stored, arriving, same_wal, most):
    a, b = cut(stored), cut(arriving, WAL if same_wal else OTHER)
    stanza = fingerprint.fingerprint(Given(a), IDENTITY.salt)
    file = encrypt(b"", extra=[stanza])
    found = fingerprint.compare(Given(file), Given(b, most * 100), IDENTITY.salt, MB.nbytes)
    if a == b:
        expected = "same"
    elif end_of(b) > end_of(a) and b[: end_of(a)] == a[: end_of(a)]:
        expected = "longer"
    else:
        expected = "other"
    assert found == expected


def test_the_fingerprint_stands_in_the_sealed_header(storage):
    put(storage, name(7), WAL)
    (stored,) = storage.content.values()
    header, _ = read_header(Given(stored))
    assert [stanza.type for stanza in header.stanzas] == ["X25519", "X25519", fingerprint.TYPE]
