"""A backup host that cannot read what it stores: nothing of it shows, and every recipient can restore all of it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.age import OTHERS, OURS
from support.clusters import Cluster, fingerprint
from support.protection import ROOT, verified_by_postgres

from catalog.age.keys import Identity
from walstream.ops import unprivileged

pytestmark = pytest.mark.postgres(versions=[18])  # the server's version plays no role

PAGE = Path(ROOT) / "docs" / "format.md"
SECRET = "the account of Ada Lovelace"


@pytest.fixture
def identities(cluster_directory):
    """Files with an identity each: ours and theirs, for whom is encrypted, and a stranger's."""
    files = {}
    for name, identity in (("ours", OURS), ("theirs", OTHERS), ("stranger's", Identity.new())):
        files[name] = os.path.join(cluster_directory, f"{name} identity")
        with open(os.open(files[name], os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(identity.secret_text() + "\n")
    return files


@pytest.fixture
def origin(cluster_factory):
    cluster = cluster_factory()
    cluster.sql("CREATE TABLE secrets (id int, body text)")
    cluster.sql(f"INSERT INTO secrets SELECT i, '{SECRET} ' || i FROM generate_series(1, 5000) i")
    return cluster


def protected(protect, origin, **options):
    """Backed up while it is received, some WAL behind it, and stopped."""
    recipients = f"{OURS.recipient}, {OTHERS.recipient}"
    protection = protect(origin, encryption="age", encryption_recipients=recipients, **options)
    with protection.receiving():
        protection.backup()
        origin.sql(f"INSERT INTO secrets SELECT i, '{SECRET} ' || i FROM generate_series(1, 3000) i")
        origin.sql("SELECT pg_switch_wal()")
        origin.sql("INSERT INTO secrets VALUES (0, 'the last one')")
        protection.content = fingerprint(origin)
        origin.stop()
    return protection


def stored_files(protection):
    home = protection.home()
    return [path for place in ("base", "wals") for path in (home / place).rglob("*") if path.is_file()]


def test_nothing_of_the_content_shows_and_the_rest_stays_clear(protect, origin):
    protection = protected(protect, origin, compression="none", backup_compression="none")
    files = stored_files(protection)
    assert not [str(path) for path in files if SECRET.encode() in path.read_bytes()]
    clear = {path.name for path in files if path.suffix != ".age"}
    assert clear == {"record.json", "backup_manifest"}
    config = (protection.place / "walstream.conf").read_text()
    assert "SECRET" not in config and "identity" not in config


def test_without_an_identity_all_works_that_need_not_read(protect, origin):
    protection = protected(protect, origin, retention_policy="REDUNDANCY 1")
    (backup,) = protection.facts("list-backups", "main")
    assert backup["status"] == "DONE"
    shown = protection.facts("show-backup", "main", "latest")["base_backup_information"]
    assert shown["encryption"] == "age"
    assert shown["encryption_recipients"] == [str(OURS.recipient), str(OTHERS.recipient)]
    # The receiver starts again and goes on behind what it cannot read.
    origin.start()
    with protection.receiving():
        origin.sql("INSERT INTO secrets VALUES (1, 'behind')")
        protection.catch_up()
        protection.backup()
        origin.stop()
    protection.run("expire", "main")
    assert len(protection.facts("list-backups", "main")) == 1
    destination = protection.place / "data"
    destination.mkdir(mode=0o700)
    for command in (["restore", "main", "auto", str(destination)], ["verify-backup", "main", "latest"]):
        said = protection.refusal(*command)
        assert "is encrypted, and no identity was given" in said and "--identity-file" in said
    assert list(destination.iterdir()) == []


@pytest.mark.parametrize(
    ("whose", "words"), [("ours", []), ("theirs", ["--no-get-wal", "--jobs", "2"])], ids=["ours", "theirs"]
)
def test_every_recipient_restores_all_of_it(protect, origin, cluster_factory, identities, whose, words):
    protection = protected(protect, origin)
    key = identities[whose]
    said = protection.refusal("verify-backup", "main", "latest", "--identity-file", identities["stranger's"])
    assert "does not open it" in said
    assert protection.facts("verify-backup", "main", "latest", "--identity-file", key)["verified"]
    destination = protection.place / "restored o'data"
    protection.restore(destination, "auto", str(destination), "--identity-file", key, *words)
    restored = Cluster(origin.version, str(destination))
    try:
        verified_by_postgres(restored)
        restored.start()
        assert restored.wait_for_recovery() == "ended"
        assert fingerprint(restored) == protection.content
    finally:
        restored.close()


def test_a_command_gives_the_identity_to_the_restored_server_too(protect, origin, identities):
    protection = protected(protect, origin)
    destination = protection.place / "restored"
    command = f"cat '{identities['ours']}'"
    protection.restore(destination, "auto", str(destination), "--identity-command", command)
    restored = Cluster(origin.version, str(destination))
    try:
        restored.start()
        assert restored.wait_for_recovery() == "ended"
        assert fingerprint(restored) == protection.content
    finally:
        restored.close()


@pytest.mark.postgres(minimum=17)
def test_a_chain_is_taken_without_a_key_and_restored_for_new_recipients(protect, cluster_factory, identities):
    origin = cluster_factory({"summarize_wal": "on"})
    origin.sql("CREATE TABLE secrets (id int, body text)")
    origin.sql(f"INSERT INTO secrets SELECT i, '{SECRET} ' || i FROM generate_series(1, 5000) i")
    protection = protect(origin, encryption="age", encryption_recipients=str(OURS.recipient))
    with protection.receiving():
        protection.backup()
        origin.sql("UPDATE secrets SET body = body || '!' WHERE id % 100 = 0")
        protection.backup("--incremental", "latest")
        content = fingerprint(origin)
        origin.stop()
    stranger = Identity.parse(Path(identities["stranger's"]).read_text().strip())
    words = ["--recipient", str(stranger.recipient), "--identity-file", identities["ours"]]
    assert protection.facts("rewrap", "main", *words)["refused"] == {}
    assert [each["status"] for each in protection.facts("list-backups", "main")] == ["DONE", "DONE"]
    said = protection.refusal("verify-backup", "main", "latest", "--identity-file", identities["ours"])
    assert "does not open it" in said
    destination = protection.place / "restored"
    protection.restore(destination, "latest", str(destination), "--identity-file", identities["stranger's"])
    restored = Cluster(origin.version, str(destination))
    try:
        verified_by_postgres(restored)
        restored.start()
        assert restored.wait_for_recovery() == "ended"
        assert fingerprint(restored) == content
    finally:
        restored.close()


def test_the_stock_tools_alone_restore_it(protect, origin, cluster_factory, identities, this_tree):
    for program in ("age", "zstd"):
        if shutil.which(program) is None:
            pytest.skip(f"NOT RESTORED WITH THE STOCK TOOLS: {program!r} is not installed")
    protection = protected(protect, origin)
    # Quotes and percent signs in a path are the reader's to quote.
    repository = str(protection.place / "main")
    os.rename(protection.home(), repository)
    (backup,) = os.listdir(f"{repository}/base")
    key, data = f"{protection.place}/identity", f"{protection.place}/restored"
    shutil.copy(identities["theirs"], key)
    commands = "\n".join(
        re.findall(r"^```shell\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
    for text, ours in (("/backups/main", repository), ("/etc/walstream-identity", key)):
        assert text in commands
        commands = commands.replace(text, ours)
    given = f"identity={key} repository={repository} id={backup} data={data}\n"
    way = unprivileged.way()
    way.give(str(protection.place))
    process = way.popen(["sh", "-e", "-c", given + commands], subprocess.PIPE)
    output, _ = process.communicate(timeout=120)
    assert (process.returncode, output) == (0, b"")
    restored = cluster_factory(start=False, directory=data)
    restored.start()
    assert restored.wait_for_recovery() == "ended"
    rows = restored.one("SELECT count(*) FROM secrets")
    assert rows == 8000  # the last row is in the newest WAL, which is not in wals/
