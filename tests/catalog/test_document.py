import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import extras

from catalog.document import Document, _parse_plain, write_document
from catalog.errors import Corrupt, RepositoryError

plain_lines = st.lists(
    st.from_regex(r'  "[a-z"\\]{0,3}": ("[a-zé"\\, ]{0,4}"|-?[0-9]{1,3}|null|\{\}|1e3|00)', fullmatch=True),
    max_size=3,
)


@given(extras)
def test_a_document_reads_back_as_it_was_written(content):
    assert Document.parse(write_document(content), "x").rest() == content


@given(st.dictionaries(st.text(), st.text() | st.integers(0)))
def test_what_is_read_without_the_json_module_is_what_json_reads(content):
    data = write_document(content)
    assert _parse_plain(data) in (None, json.loads(data))


@given(plain_lines)
def test_lines_that_look_like_ours_are_read_as_json_or_not_at_all(lines):
    data = ("{\n" + ",\n".join(lines) + "\n}\n").encode()
    content = _parse_plain(data)
    assert content is None or content == json.loads(data)


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(st.none(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_are_a_document_or_corrupt(data):
    try:
        Document.parse(data, "x.json")
    except Corrupt as error:
        assert "x.json" in str(error) and error.hint


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b"9" * 5000, b'{"a": ' + b"9" * 5000 + b"}", b"\xff\xfe", b""]
)
def test_what_json_chokes_on_is_corrupt(data):
    with pytest.raises(Corrupt):
        Document.parse(data, "x.json")


def test_a_nested_key_is_named_with_all_that_is_above_it():
    document = Document.parse(b'{"begin": {"parts": [{}, {"size": "4"}]}}', "record.json")
    part = document.below("begin").each("parts")[1]
    with pytest.raises(Corrupt, match=r"record.json: 'begin.parts\[1\].size' is not a number"):
        part.integer("size")
    with pytest.raises(Corrupt, match=r"'begin.parts\[1\].name' is missing"):
        part.text("name")


@pytest.mark.parametrize("value", ["true", "-1", "1.5", '"1"', "null"])
def test_an_integer_is_nothing_but_a_number_from_0_on(value):
    with pytest.raises(Corrupt, match="'n'"):
        Document.parse(b'{"n": %s}' % value.encode(), "x").integer("n")


@pytest.mark.parametrize("value", ["true", "-1", "NaN", "Infinity", "1e999", '"1"'])
def test_a_number_is_finite_and_not_negative(value):
    with pytest.raises(Corrupt, match="'n'"):
        Document.parse(b'{"n": %s}' % value.encode(), "x").number("n")


def test_a_newer_format_is_refused_with_the_way_out():
    with pytest.raises(RepositoryError, match="format 2") as caught:
        Document.parse(b'{"format": 2}', "x").require_format()
    assert "newer" in caught.value.hint


def test_an_identity_is_read_without_importing_what_a_delivery_cannot_afford():
    code = """if True:
        import sys
        from catalog.repository_identity import RepositoryIdentity
        from catalog.timeline import Path
        from catalog.walpage import check_first_page
        RepositoryIdentity.from_json(sys.argv[1].encode())
        slow = {"json", "dataclasses", "typing", "re", "pathlib", "logging", "enum", "collections"}
        print(sorted(slow & set(sys.modules)))"""
    identity = write_document(
        {
            "format": 1,
            "system_identifier": "7711084784289903658",
            "major_version": 15,
            "wal_segment_size": 16777216,
            "salt": "00ff",
            "created": "2026-01-31T12:00:00+00:00",
        }
    )
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path = {sys.path!r}\n{code}",
        identity.decode(),
    ]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
