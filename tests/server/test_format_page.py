"""docs/format.md keeps its word: its commands, run as they stand there, bring a cluster back without walstream."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.clusters import fingerprint

from walstream.ops import unprivileged

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
TABLESPACES = ("fast", "slow disk")


def commands_by_hand():
    """The shell commands of the section, one behind another."""
    section = PAGE.partition("\n## Restoring by hand\n")[2]
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


def examples():
    """The JSON documents of the page by the heading, or the file's name, that stands before each."""
    found = re.findall(
        r"`?(\w+\.json)`?(?:(?!\.json).)*?^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    )
    return {name: json.loads(text) for name, text in found}


def keys(document):
    """The keys of a document, of those inside too."""
    if isinstance(document, list):
        return keys(document[0]) if document else set()
    if not isinstance(document, dict):
        return set()
    return set(document).union(*(keys(value) for value in document.values()))


def assert_the_page_shows(path):
    """The example of a document has the keys of a real one."""
    assert keys(examples()[path.name]) == keys(json.loads(path.read_bytes()))


def walstream(configuration, *arguments):
    return [sys.executable, "-m", "walstream", "-c", str(configuration), *arguments]


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}


@contextmanager
def receiving(configuration):
    process = subprocess.Popen(walstream(configuration, "receive-wal", "main"), env=environment())
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.fixture
def protected(cluster_factory, cluster_directory, eventually):
    """A lost cluster: its rows, and its repository with a backup, filed WAL and an incomplete segment."""
    place = Path(cluster_directory)
    origin = cluster_factory()
    way = unprivileged.way()
    for name in TABLESPACES:
        (place / name).mkdir(mode=0o700)
        way.give(str(place / name))
        origin.sql(f"CREATE TABLESPACE \"{name}\" LOCATION '{place / name}'")
        origin.sql(f'CREATE TABLE "{name}" TABLESPACE "{name}" AS SELECT generate_series(1, 3000) AS n')
    configuration = place / "walstream.conf"
    section = f"[main]\nconninfo = {origin.conninfo()}\nslot_name = walstream\n"
    configuration.write_text(f"[walstream]\nwalstream_home = {place}\n{section}")
    home = place / "main"
    with receiving(configuration):
        eventually(lambda: origin.one("SELECT count(*) FROM pg_stat_replication") == 1)
        subprocess.run(
            walstream(configuration, "-q", "backup", "main", "--immediate-checkpoint"),
            env=environment(), check=True, timeout=120,
        )  # fmt: skip
        origin.load(5000)
        origin.switch_wal()
        origin.sql('DELETE FROM "slow disk" WHERE n % 3 = 0')
        end = origin.one("SELECT pg_current_wal_flush_lsn()")
        eventually(
            lambda: origin.one("SELECT bool_or(flush_lsn >= %s) FROM pg_stat_replication", end) is True
        )
    rows = fingerprint(origin)
    origin.kill()
    for name in TABLESPACES:
        shutil.rmtree(place / name)
    return home, rows


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the zstd command")
def test_the_commands_of_the_page_restore_a_lost_cluster(protected, cluster_factory, cluster_directory):
    repository, rows = protected
    way = unprivileged.way()
    way.give(cluster_directory)
    (backup,) = (repository / "base").iterdir()
    assert_the_page_shows(backup / "record.json")
    assert_the_page_shows(repository / "identity.json")
    data = os.path.join(cluster_directory, "restored")
    script = commands_by_hand()
    for text, ours in (
        ("/backups/main", str(repository)),
        ("20261122T202447", backup.name),
        ("/srv/restored", data),
    ):
        assert text in script
        script = script.replace(text, ours)
    process = way.popen(["sh", "-e", "-c", script], subprocess.PIPE)
    output, _ = process.communicate(timeout=120)
    assert (process.returncode, output) == (0, b"")

    restored = cluster_factory(start=False, directory=data)
    restored.start()
    assert restored.wait_for_recovery() == "ended"
    assert fingerprint(restored) == rows
    assert set(rows) == {"public.fast", 'public."slow disk"', "public.load"}
    places = restored.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE oid >= 16384")
    assert all(place.startswith(f"{data}-tablespaces/") for (place,) in places) and len(places) == 2
