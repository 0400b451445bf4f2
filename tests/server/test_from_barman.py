"""The recipe for those who come from Barman, executed: its files, its commands, its table of options."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.configurations import MAIN, loaded
from support.modules import ROOT
from support.protection import environment, wait_until

from catalog.errors import ConfigurationError
from catalog.state import receiver_holder

PAGE = (ROOT / "docs" / "recipes" / "from-barman.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = [text for kind, text in BLOCKS if kind == "ini"]
SCRIPTS = [text for kind, text in BLOCKS if not kind]
ROWS = re.findall(r"^\| `(\w+ = [^`]+)` \| (.*) \|$", PAGE, re.MULTILINE)


def content(directory):
    """Every file with what is in it, and every directory, with the times of both."""
    return {
        str(path): (path.read_bytes() if path.is_file() else None, path.stat().st_mtime_ns)
        for path in [directory, *directory.rglob("*")]
    }


class Host:
    """A host of Barman's in a directory: ``/etc``, ``/var`` and the address of the server lie in it."""

    def __init__(self, root, cluster):
        self.root = root
        self.cluster = cluster
        for directory in ("etc/barman.d", "var/lib/barman/main/base/20260101T000000/data", "var/log"):
            (root / directory).mkdir(parents=True)
        self.barman = root / "var/lib/barman"
        (self.barman / "main/identity.json").write_text('{"systemid": "1", "version": "18"}')
        (self.barman / "main/base/20260101T000000/data/PG_VERSION").write_text("18\n")
        (self.barman / ".cron.lock").touch()
        (root / "etc/barman.conf").write_text(self.here(FILES[0]))
        (root / "etc/barman.d/main.conf").write_text(self.here(FILES[1]))

    def here(self, text):
        """The text of the page with the names of this host."""
        address = f"host={self.cluster.socket_directory} port={self.cluster.port}"
        text = text.replace("host=pg ", f"{address} ").replace("user=streaming_barman", "user=barman")
        return re.sub(r"/(etc|var)\b", rf"{self.root}/\1", text)

    def run(self, script, code=0):
        """Run a script of the page, whose ``walstream`` is this tree's."""
        ours = f"walstream() {{ '{sys.executable}' -P -m walstream \"$@\"; }}\nset -e\n"
        words = ["/bin/sh", "-c", ours + self.here(script)]
        done = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.mark.postgres(versions=[18])
def test_the_recipe_works_and_barmans_files_stay_as_they_are(cluster_factory, cluster_directory):
    cluster = cluster_factory()
    cluster.sql("CREATE ROLE barman SUPERUSER LOGIN")
    host = Host(Path(cluster_directory) / "host", cluster)
    copy, listed, look, begin = SCRIPTS
    before = content(host.barman)

    said = host.run("walstream -c /etc/barman.conf list-servers", code=2)
    assert "is Barman's home" in said and "walstream_home = …" in said
    host.run("walstream -c /etc/barman.conf cron", code=1)
    host.run("walstream -c /etc/barman.conf run", code=2)
    host.run("walstream -c /etc/barman.conf backup main", code=2)
    host.run("walstream -c /etc/barman.conf receive-wal main", code=2)

    host.run(copy)
    assert host.run(listed) == "main - the shop's database (streaming only)\n"
    said = host.run(look, code=1)
    assert "path_prefix: not needed" in said and "receive-wal running: FAILED" in said
    home = host.root / "var/lib/walstream/main"
    try:
        said = host.run(begin)
        assert "FAILED" not in said
        assert [path.name for path in (home / "base").iterdir()]
        assert cluster.sql("SELECT slot_name FROM pg_replication_slots") == [("walstream",)]
    finally:
        if found := receiver_holder(str(home)):
            os.kill(found[1], 15)
            wait_until(lambda: receiver_holder(str(home)) is None)
    assert content(host.barman) == before


def test_barmans_file_works_as_it_is_once_its_home_is_an_empty_place(tmp_path):
    (tmp_path / "empty").mkdir()
    text = "".join(FILES).replace("/var/lib/barman", f"{tmp_path}/empty")
    configuration = loaded(tmp_path, text.replace("configuration_files_directory", "; "))
    server = configuration.server("main")
    assert (configuration.errors, list(configuration.models)) == ([], ["main:standby"])
    assert (server.home, server.slot_name, server.compression) == (f"{tmp_path}/empty/main", "barman", "gzip")
    assert str(server.streaming_conninfo) == "host=pg user=streaming_barman"
    assert (server.last_backup_maximum_age, server.immediate_checkpoint) == (7 * 86400, True)
    not_needed = {"barman_user", "retention_policy_mode", "wal_retention_policy"}
    assert set(server.not_needed) == {"path_prefix", "parallel_jobs", "backup_options"} | not_needed


@pytest.mark.parametrize(("line", "advice"), ROWS, ids=[line for line, _ in ROWS])
def test_a_line_that_is_refused_has_the_way_out_that_the_recipe_names(tmp_path, line, advice):
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, MAIN + f"    {line}\n").server("main")
    option = line.partition(" ")[0]
    assert f"line 8: '{option}' in [main]" in str(caught.value) and caught.value.hint
    instead = advice.strip("`")
    assert advice.startswith("remove it") or loaded(tmp_path, MAIN + f"    {instead}\n").server("main")


def test_the_recipe_speaks_of_the_usual_options():
    assert len(ROWS) >= 15 and len(FILES) == 2 and len(SCRIPTS) == 4
