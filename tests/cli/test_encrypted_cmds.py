"""Commands over an encrypted repository: who reads needs an identity and says so, at once; the others need none."""

import io
import os

import pytest
from support.age import OTHERS, OURS, decrypt, encrypt
from support.configurations import loaded
from support.filed_wal import name, new_repository, segment_bytes, store
from support.streams import Given

from catalog.age.keys import Identity
from catalog.codec import Codec
from catalog.errors import Conflict
from walstream.cli import main
from walstream.ops.deliver import deliver

WAL = segment_bytes(7)
ENCRYPTED = Codec.of("zstd").encrypted((str(OURS.recipient),))


@pytest.fixture
def identity(tmp_path):
    return identity_file(tmp_path, "identity", OURS)


def identity_file(directory, file, *identities):
    path = directory / file
    path.write_text("".join(f"{each.secret_text()}\n" for each in identities))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def repository(tmp_path):
    made = new_repository(tmp_path / "root" / "main")
    store(made, {name(7): WAL, "00000002.history": b"1\t0/700028\tx\n"}, ENCRYPTED)
    return made


@pytest.fixture
def config(tmp_path):
    """``config(*lines)``: a configuration whose server has these lines."""

    def make(*lines):
        file = tmp_path / "walstream.conf"
        head = f"[walstream]\nwalstream_home = {tmp_path}/root\n[main]\nconninfo = host=x\n"
        file.write_text(head + "".join(f"{line}\n" for line in lines))
        return str(file)

    return make


@pytest.mark.parametrize("command", ["get-wal", "wal-restore"])
@pytest.mark.parametrize("how", ["file", "command", "configured file", "configured command"])
def test_wal_is_handed_out_with_an_identity(repository, config, identity, tmp_path, command, how):
    word = how.split()[-1]
    value = identity if word == "file" else f"cat '{identity}'"
    output = str(tmp_path / "delivered")
    if how.startswith("configured"):
        words = ["-c", config(f"encryption_identity_{word} = {value}"), command, "main"]
    else:
        words = [command, repository.root, f"--identity-{word}", value]
    words += [name(7), output] if command == "wal-restore" else [name(7), "-o", output]
    assert main(words) == 0
    with open(output, "rb") as file:
        assert file.read() == WAL


def test_without_one_it_is_trouble_at_once_and_not_the_end_of_wal(repository, tmp_path, capfd, identity):
    stranger = identity_file(tmp_path, "stranger", OTHERS)
    for words in ([], ["--identity-file", stranger], ["--identity-command", "false"]):
        given = ["--until", name(9), "--wait", "600", *words, repository.root, name(7), str(tmp_path / "x")]
        assert main(["wal-restore", "--absent-code", "64", *given]) == 255
        said = capfd.readouterr().err
        assert "identity" in said and "trying again" not in said
        assert main(["get-wal", repository.root, name(7), *words]) == 255
        assert "identity" in capfd.readouterr().err
    assert not (tmp_path / "x").exists()


def test_what_is_clear_needs_none_even_if_the_configured_one_is_gone(
    repository, config, tmp_path, capfdbinary
):
    file = config(f"encryption_identity_file = {tmp_path}/gone")
    assert main(["-c", file, "get-wal", "main", "00000002.history"]) == 0
    assert capfdbinary.readouterr().out == b"1\t0/700028\tx\n"


def test_a_second_copy_is_taken_in_or_refused_without_an_identity(repository, tmp_path):
    text = f"""
    [walstream]
    walstream_home = {tmp_path}/root
    [main]
    conninfo = host=x
    archiver = on
    encryption = age
    encryption_recipients = {OURS.recipient}
    """
    settings = loaded(tmp_path, text).server("main")
    assert deliver(settings, repository, name(7), io.BytesIO(WAL)) is False
    with pytest.raises(Conflict):
        deliver(settings, repository, name(7), Given(segment_bytes(7, fill=b"\x5a")))
    assert not os.path.exists(tmp_path / "root" / "main" / "incoming" / name(7))


def test_rewrap_makes_it_readable_for_the_recipients_of_the_configuration(
    repository, config, identity, capsys
):
    file = config("encryption = age", f"encryption_recipients = {OTHERS.recipient}")
    assert main(["-c", file, "rewrap", "main", "--identity-file", identity]) == 0
    assert "1 file (" in capsys.readouterr().out
    (path,) = (entry.path for entry in os.scandir(f"{repository.root}/wals/{name(7)[:16]}"))
    with open(path, "rb") as stored:
        assert decrypt(stored.read(), OTHERS)
    assert main(["-c", file, "rewrap", "main", "--identity-file", identity]) == 1
    said = capsys.readouterr().err
    assert "as they were before: 1 file" in said and "old and new identities" in said
    assert said.count(name(7)) == 1 and "after a rewrap, of one who was named then" in said


def test_rewrap_says_once_why_many_files_stay_and_names_a_few(repository, config, identity, capsys):
    stranger = Identity.new().recipient
    for oid in range(16384, 16384 + 30):
        repository.storage.put(f"base/20260131T120000/{oid}.tar.age", encrypt(b"a stranger's", stranger))
    file = config("encryption = age", f"encryption_recipients = {OTHERS.recipient}")
    wanted = ["-c", file, "rewrap", "main", "--identity-file", identity]
    assert main(wanted) == 1 and main(wanted) == 1  # once more: now nothing opens
    said = capsys.readouterr().err
    assert "16386.tar.age and 27 more: the file is encrypted" in said and "16387.tar.age" not in said
    assert "as they were before: 31 files, of which 11 were not tried" in said


def test_rewrap_without_an_identity_or_without_recipients_is_refused(repository, config, identity, capsys):
    assert main(["-c", config(), "rewrap", "main", "--identity-file", identity]) == 2
    assert "nobody to encrypt for" in capsys.readouterr().err
    assert main(["-c", config(), "rewrap", "main", "--recipient", str(OTHERS.recipient)]) == 2
    assert "needs an identity" in capsys.readouterr().err
    assert (
        main(["-c", config(), "rewrap", "main", "--recipient", "age1typo", "--identity-file", identity]) == 1
    )
    assert "not an age recipient" in capsys.readouterr().err
