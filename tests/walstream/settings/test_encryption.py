"""The options of encryption: recipients are checked when they are read, and identities are never repeated."""

import pytest
from support.age import OTHERS, OURS
from support.configurations import MAIN, loaded, write

from catalog.errors import ConfigurationError
from walstream.ops.local import backup_codec, wal_codec
from walstream.settings.explain import explained
from walstream.settings.load import load
from walstream.settings.locate import places

A, B = str(OURS.recipient), str(OTHERS.recipient)


def with_lines(*lines):
    return MAIN + "".join(f"    {line}\n" for line in lines)


def refusal(tmp_path, *lines):
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, with_lines(*lines)).server("main")
    return caught.value


def test_without_it_nothing_is_encrypted(tmp_path):
    server = loaded(tmp_path, with_lines(f"encryption_recipients = {A}")).server("main")
    assert server.encryption_recipients == ()
    assert (wal_codec(server).suffix, backup_codec(server).suffix) == (".zst", ".zst")


@pytest.mark.parametrize("between", [", ", ",", " ", "  ,"])
def test_wal_and_backups_are_encrypted_for_all_recipients(tmp_path, between):
    lines = ("encryption = age", f"encryption_recipients = {A}{between}{B}", "backup_compression = none")
    server = loaded(tmp_path, with_lines(*lines)).server("main")
    assert wal_codec(server).recipients == backup_codec(server).recipients == (A, B)
    assert (wal_codec(server).suffix, backup_codec(server).suffix) == (".zst.age", ".age")


def test_encryption_for_nobody_is_refused(tmp_path):
    error = refusal(tmp_path, "encryption = age")
    assert "line 8: 'encryption = age' in [main] needs 'encryption_recipients'" in str(error)
    assert "keygen" in error.hint


def test_a_recipient_with_a_typo_is_named_with_its_line(tmp_path):
    error = refusal(tmp_path, "encryption = age", f"encryption_recipients = {A}, {B[:-1]}q")
    assert "line 9: 'encryption_recipients' in [main]" in str(error)
    assert f"{B[:-1]}q" in str(error) and "checksum does not fit" in str(error)


def test_one_that_stands_there_twice_is_a_slip(tmp_path):
    assert "twice" in str(refusal(tmp_path, "encryption = age", f"encryption_recipients = {A} {A}"))


@pytest.mark.parametrize(
    "given", [OURS.secret_text(), f"{A}, {OURS.secret_text()}", OURS.secret_text().lower()]
)
def test_an_identity_among_them_is_refused_and_not_repeated(tmp_path, given):
    error = refusal(tmp_path, "encryption = age", f"encryption_recipients = {given}")
    assert "secret" in str(error)
    assert OURS.secret_text()[20:40].lower() not in f"{error} {error.hint}".lower()


def test_where_the_identity_is_comes_from_the_server_then_from_the_global_section(tmp_path):
    text = MAIN.replace(
        "[main]", "encryption_identity_file = /a\n    encryption_identity_command = one\n    [main]"
    )
    found, _ = places("main", write(tmp_path, text))
    assert (found.identity_file, found.identity_command) == ("/a", "one")
    found, _ = places("main", write(tmp_path, f"{text}    encryption_identity_file = /b\n"))
    assert found.identity_file == "/b"
    found, _ = places("main", write(tmp_path, f"{text}    encryption_identity_command =\n"))
    assert (found.identity_file, found.identity_command) == ("/a", None)
    found, _ = places(f"{tmp_path}/main")
    assert (found.identity_file, found.identity_command) == (None, None)


def test_recipients_are_shown_whole(tmp_path):
    text = with_lines("encryption = age", f"encryption_recipients = {A}, {B}")
    configuration = load(write(tmp_path, text))
    found = explained(configuration.server("main"), configuration.lookups["main"])
    assert {each.option: each.value for each in found}["encryption_recipients"] == f"{A}, {B}"
