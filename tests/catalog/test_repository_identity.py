import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import extras, sizes

from catalog.errors import Corrupt, ForeignRepository, Malformed, RepositoryError, WrongServer
from catalog.lsn import SegmentSize
from catalog.repository_identity import RepositoryIdentity

IDENTITY = RepositoryIdentity(
    7711084784289903658, 15, SegmentSize(16 << 20), bytes(range(32)), "2026-01-31T12:00:00+00:00"
)
identities = st.builds(
    RepositoryIdentity,
    st.integers(0, (1 << 64) - 1),
    st.integers(13, 18),
    sizes,
    st.binary(),
    st.text(),
    extras,
)


def changed(**changes):
    return json.dumps({**json.loads(IDENTITY.to_json()), **changes}).encode()


@given(identities)
def test_an_identity_reads_back_as_it_was_written_unknown_keys_included(identity):
    again = RepositoryIdentity.from_json(identity.to_json())
    assert again == identity == pickle.loads(pickle.dumps(identity))
    assert hash(again) == hash(identity)


def test_the_system_identifier_is_a_string_because_it_exceeds_2_to_53():
    assert json.loads(IDENTITY.to_json())["system_identifier"] == "7711084784289903658"


def test_an_identity_formatted_by_somebody_else_reads_the_same():
    assert RepositoryIdentity.from_json(changed()) == IDENTITY


def test_a_barman_repository_is_recognised():
    with pytest.raises(ForeignRepository, match="Barman") as caught:
        RepositoryIdentity.from_json(b'{"systemid": "7711084784289903658", "version": "15"}')
    assert "directory of its own" in caught.value.hint


@pytest.mark.parametrize("data", [b"{}", b'{\n  "system_identifier": "1"\n}\n', b'{"formatted": 1}'])
def test_an_identity_without_format_is_not_ours(data):
    with pytest.raises(ForeignRepository, match="not written by walstream"):
        RepositoryIdentity.from_json(data)


@pytest.mark.parametrize("key", ["system_identifier", "major_version", "wal_segment_size", "salt", "created"])
def test_a_missing_key_is_named(key):
    content = json.loads(IDENTITY.to_json())
    del content[key]
    with pytest.raises(Corrupt, match=f"'{key}' is missing"):
        RepositoryIdentity.from_json(json.dumps(content).encode())


@pytest.mark.parametrize(
    "key, value",
    [
        ("system_identifier", 7711084784289903658),
        ("system_identifier", "x"),
        ("system_identifier", "-1"),
        ("system_identifier", str(1 << 64)),
        ("major_version", "15"),
        ("wal_segment_size", 3),
        ("salt", "xyz"),
        ("created", None),
    ],
)
def test_a_wrong_value_is_named(key, value):
    with pytest.raises(Corrupt, match=f"'{key}' is not"):
        RepositoryIdentity.from_json(changed(**{key: value}))


@given(st.binary())
def test_any_bytes_are_an_identity_or_refused(data):
    with pytest.raises((Malformed, RepositoryError)):
        RepositoryIdentity.from_json(data)


def test_another_server_is_refused_with_the_way_out():
    IDENTITY.require(IDENTITY.system_identifier)
    with pytest.raises(WrongServer, match="the server has 5") as caught:
        IDENTITY.require(5)
    assert "pg_upgrade" in caught.value.hint and "another server" in caught.value.hint
