"""Starting programs as an ordinary user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.errors import DestinationRefused
from walstream.ops import unprivileged

ROOT = Path(__file__).parents[3]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


@pytest.fixture
def nobody():
    return unprivileged.Way(uid=unprivileged.NOBODY)


def run(way, *argv):
    process = way.popen(argv, subprocess.PIPE)
    output, _ = process.communicate()
    return output.decode().strip()


def test_programs_do_not_run_as_root():
    assert run(unprivileged.way(), "/usr/bin/id", "-u") != "0"


def test_programs_are_spared_our_language_and_our_postgresql_variables(monkeypatch):
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("LC_MESSAGES", "tlh")
    assert run(unprivileged.way(), "/bin/sh", "-c", "echo $PGHOST/$LC_MESSAGES/$LC_ALL") == "//C"


def test_a_directory_that_user_65534_cannot_reach_is_named(nobody, tmp_path):
    closed = tmp_path.resolve() / "closed"
    (closed / "data").mkdir(parents=True)
    for directory in closed.parents:
        if directory.is_relative_to("/tmp/pytest-of-root"):
            directory.chmod(0o711)
    closed.chmod(0o700)
    with pytest.raises(DestinationRefused, match="is not open to others"):
        nobody.require_access(str(closed / "data"))


@as_root
def test_giving_a_directory_away_follows_only_the_links_of_tablespaces(nobody, tmp_path):
    for name in ("data/pg_tblspc", "space/deep", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data/pg_tblspc/16400").symlink_to(tmp_path / "space")
    (tmp_path / "data/link").symlink_to(tmp_path / "elsewhere")
    nobody.give(str(tmp_path / "data"))
    owned = {path.name for path in tmp_path.rglob("*") if path.stat().st_uid == unprivileged.NOBODY}
    assert owned == {"data", "pg_tblspc", "16400", "space", "deep"}


SCRIPT = """
import sys
from walstream.ops.throwaway import ThrowawayServer
with ThrowawayServer(sys.argv[1], sys.argv[2]) as server:
    server.init()
    server.start()
    server.stop()
"""


@as_root
def test_where_namespaces_are_refused_a_server_runs_as_user_65534(pg_bin, cluster_directory, nobody):
    try:
        nobody.require_access(pg_bin)
    except DestinationRefused as error:
        pytest.skip(error.message)
    data = Path(cluster_directory, "data")
    environment = {**os.environ, "PATH": "/nonexistent"}  # so that unshare is not found
    subprocess.run([sys.executable, "-c", SCRIPT, pg_bin, data], cwd=ROOT, env=environment, check=True)
    assert (data / "postgresql.conf").stat().st_uid == unprivileged.NOBODY
