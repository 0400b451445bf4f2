"""The recipe of a first week, executed: every command of the page, and every line that it says."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.modules import ROOT
from support.protection import environment, wait_until

from catalog.state import receiver_holder

PAGE = (ROOT / "docs" / "recipes" / "a-first-week.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
STREAMS = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'walstream_receive_wal'"
NUMBER = re.compile(r"\b[0-9A-F]{24}\b|\b[0-9]{8}T[0-9]{6}\b|[0-9]+/[0-9A-F]+|[0-9]+(?:[.:-][0-9]+)*")


def shape(line):
    """A line without its numbers, times and units, and with one blank for several."""
    return " ".join(re.sub(r"# (?:B|[KMG]iB)\b", "#", NUMBER.sub("#", line)).split())


@pytest.fixture
def host(cluster_directory):
    """A directory in place of the backup host; a receiver that a failed test has left is ended."""
    made = Path(cluster_directory) / "host"
    made.mkdir()
    yield made
    if left := receiver_holder(str(made / "lib" / "main")):
        os.kill(left[1], signal.SIGKILL)


@pytest.mark.postgres(versions=[18])
@pytest.mark.timeout(300)
def test_the_page_is_what_happens(cluster_factory, standby_factory, host):
    primary = cluster_factory()
    primary.sql("CREATE ROLE walstream REPLICATION LOGIN")
    primary.sql("GRANT pg_monitor TO walstream")
    primary.sql("CREATE TABLE shop (id int)")
    standby = standby_factory(primary)
    names = {"/var/lib/walstream": f"{host}/lib"}
    for name, cluster in (("db1", primary), ("db2", standby)):
        names[f"host={name}.example.com"] = f"host={cluster.socket_directory} port={cluster.port}"

    def here(text, back=False):
        for page, real in names.items():
            text = text.replace(real, page) if back else text.replace(page, real)
        return text

    def run(script):
        ours = f"walstream() {{ '{sys.executable}' -P -m walstream -c '{host}/walstream.conf' \"$@\"; }}\n"
        words = ["/bin/sh", "-c", f"{ours}{here(script)}"]
        done = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=120)
        assert done.returncode == (1 if first else 0), done.stdout + done.stderr
        return here(done.stdout + done.stderr, back=True)

    def fail_over():
        position = primary.one("SELECT pg_current_wal_flush_lsn()::text")
        wait_until(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s", position))
        primary.stop()
        standby.sql("SELECT pg_promote()")

    home, said, first = host / "lib" / "main", "", True
    for kind, text in BLOCKS:
        if kind == "ini":
            (host / "walstream.conf").write_text(here(text))
        elif kind == "text":
            shapes = {shape(line) for line in said.splitlines()}
            assert [line for line in text.splitlines() if shape(line) not in shapes] == [], said
        else:
            if "config-switch" in text:
                fail_over()
            said = run(text)
            first = False
            if text == "walstream cron\n":
                wait_until(lambda: primary.one(STREAMS) == 1)
            if "config-switch" in text:
                wait_until(lambda: standby.one(STREAMS) == 1)
    assert receiver_holder(str(home)) is None
    assert standby.one("SELECT count(*) FROM pg_replication_slots") == 0
