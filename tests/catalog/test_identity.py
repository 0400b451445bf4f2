"""Identity files and commands: what is accepted, what is refused, and what the refusal says."""

from __future__ import annotations

import os
import stat

import pytest
from support.age import OTHERS, OURS, decrypt, encrypt, lock, tool
from support.streams import Given, drain

from catalog.age.keys import Recipient
from catalog.errors import IdentityError, StorageError
from catalog.identity import (
    EncryptedReader,
    Identities,
    identities_of_command,
    read_identities,
    write_identity,
)

SECRETS = [OURS.secret_text(), OTHERS.secret_text()]


def identity_file(directory, content, mode=0o600):
    path = directory / "identity"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return str(path)


def recipients(identities):
    return [str(identity.recipient) for identity in identities]


def refused(call, *given, words):
    with pytest.raises(IdentityError, match=words) as caught:
        call(*given)
    said = f"{caught.value} {caught.value.hint}"
    assert caught.value.hint and not any(secret[16:40] in said for secret in SECRETS)
    return said


def test_comments_empty_lines_and_spaces_stand_between_identities(tmp_path):
    path = identity_file(tmp_path, f"# created: today\n\n  {SECRETS[0]} \r\n#\n{SECRETS[1]}")
    assert recipients(read_identities(path)) == [str(OURS.recipient), str(OTHERS.recipient)]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_file_that_is_open_to_others_is_refused(tmp_path, mode):
    path = identity_file(tmp_path, SECRETS[0], mode)
    said = refused(read_identities, path, words=f"open to others .mode {mode:04o}")
    assert f"chmod 600 {path}" in said


def test_the_command_that_closes_a_file_can_be_copied(tmp_path):
    path = identity_file(tmp_path, SECRETS[0], 0o640)
    os.rename(path, f"{path} of mine")
    assert f"chmod 600 '{path} of mine';" in refused(
        read_identities, f"{path} of mine", words="open to others"
    )


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_for_its_owner_alone_is_read(tmp_path, mode):
    assert read_identities(identity_file(tmp_path, SECRETS[0], mode))


def test_a_pipe_from_another_program_is_read(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, SECRETS[0].encode())
    os.close(writing)
    try:
        assert recipients(read_identities(f"/dev/fd/{reading}")) == [str(OURS.recipient)]
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no identity"),
        ("# nothing\n\n", "holds no identity"),
        (f"{SECRETS[0]}\n{SECRETS[1][:-1]}\n", "line 2: .*checksum"),
        (f"{SECRETS[0].lower()}\n", "line 1: .*capital"),
        (f"\n\n{OURS.recipient}\n", "line 3: .*recipient, not an identity"),
        (b"\xff\xfe\x00 noise", "line 1"),
        (b"x" * (2 << 20), "no list of identities"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "line 1: .*kind"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, content, words):
    refused(read_identities, identity_file(tmp_path, content), words=words)


def test_a_file_that_is_not_there_or_a_directory_is_refused(tmp_path):
    refused(read_identities, str(tmp_path / "none"), words="No such file")
    refused(read_identities, str(tmp_path), words="directory")


def test_a_file_locked_with_a_passphrase_asks_for_it(tmp_path):
    path = identity_file(tmp_path, lock(SECRETS[0].encode(), "horse"))
    asked = []
    assert read_identities(path, lambda prompt: asked.append(prompt) or "horse")
    assert path in asked[0]
    refused(read_identities, path, words="nobody to ask")
    refused(read_identities, path, lambda prompt: "cow", words="passphrase")


def test_a_command_prints_identities(tmp_path):
    path = identity_file(tmp_path, "\n".join(SECRETS))
    assert len(identities_of_command(f"cat '{path}'")) == 2


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("false", "ended with code 1"),
        ("true", "holds no identity"),
        ("/no/such/program --key", "cannot run .*No such file"),
        ("", "is empty"),
        ("cat 'unclosed", "split into words"),
        ("echo $HOME | cat", "line 1"),
        ("yes", "no list of identities"),
    ],
)
def test_a_command_that_gives_none_is_refused(command, words):
    refused(identities_of_command, command, words=words)


def test_a_command_is_no_shell(tmp_path):
    mark = tmp_path / "mark"
    refused(identities_of_command, f"echo x; touch {mark}", words="line 1")
    assert not mark.exists()


def test_a_command_that_does_not_end_is_killed_with_what_it_started(tmp_path):
    # The child holds the pipe: reading would not end before it does.
    refused(identities_of_command, "sh -c 'sleep 600 & sleep 600'", 0.2, words="longer than 0.2 seconds")


def opened(identities):
    return drain(EncryptedReader(Given(encrypt(b"content")), identities, "'x.age'"))


def test_identities_are_looked_for_once_and_only_when_needed(tmp_path):
    count = tmp_path / "count"
    path = identity_file(tmp_path, SECRETS[0])
    identities = Identities(command=f"sh -c 'echo x >> {count}; cat {path}'")
    assert not count.exists()
    for _ in range(2):
        assert opened(identities) == b"content"
    assert count.read_text() == "x\n"


def test_identities_of_files_and_of_a_command_all_count(tmp_path):
    path = identity_file(tmp_path, SECRETS[0])
    (tmp_path / "second").mkdir()
    other = identity_file(tmp_path / "second", SECRETS[1])
    assert len(Identities(path, f"cat {other}").all()) == 2


def test_without_an_identity_it_is_said_what_needs_one(tmp_path):
    said = refused(opened, Identities(), words="'x.age' is encrypted, and no identity")
    assert "--identity-file" in said and "encryption_identity_command" in said
    path = identity_file(tmp_path, SECRETS[1])
    refused(opened, Identities(path), words="'x.age': .*does not open it")


def test_a_new_identity_is_for_its_owner_alone_and_works(tmp_path):
    path = tmp_path / "key"
    recipient = write_identity(str(path), "2026-01-31")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (identity,) = read_identities(str(path))
    assert str(identity.recipient) == recipient
    assert decrypt(encrypt(b"content", Recipient.parse(recipient)), identity) == b"content"
    assert f"# public key: {recipient}\n" in path.read_text()


def test_a_new_identity_is_one_for_the_stock_tool(tmp_path):
    path = str(tmp_path / "key")
    recipient = write_identity(path, "2026-01-31")
    assert tool("age-keygen", "-y", path).decode().strip() == recipient
    assert tool("age", "-d", "-i", path, given=encrypt(b"x", Recipient.parse(recipient))) == b"x"


def test_an_existing_file_is_never_overwritten(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"precious")
    refused(write_identity, str(path), "now", words="exists already")
    assert path.read_bytes() == b"precious"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    refused(write_identity, str(path), "now", words="exists already")
    assert os.listdir(tmp_path) == ["key"]


def test_a_place_that_cannot_be_written_to_is_said(tmp_path):
    with pytest.raises(StorageError, match="cannot write"):
        write_identity(str(tmp_path / "none" / "key"), "now")
