"""``switch-wal`` on real servers."""

import json

import pytest
from support.receiving import receiving

from walstream.settings.load import load


@pytest.fixture
def main(commands):
    """``main(cluster)``: a server after ``init``, with its settings."""

    def protect(cluster, **conninfo):
        assert commands.init(cluster.conninfo(**conninfo)).code == 0
        return load(commands.file).server("main")

    return protect


def test_it_names_the_segment_that_was_ended(cluster_factory, main, commands):
    cluster = cluster_factory()
    main(cluster)
    cluster.load(rows=10)
    current = cluster.one("SELECT pg_walfile_name(pg_current_wal_lsn())")
    run = commands("switch-wal", "main", "-f", "json")
    assert run.code == 0 and json.loads(run.out) == {"main": {"segment": current}}


def test_without_new_wal_it_names_the_segment_ended_last(cluster_factory, main, commands):
    cluster = cluster_factory()
    main(cluster)
    first = commands("switch-wal", "main", "--force").out
    assert commands("switch-wal", "main").out == first


def test_force_makes_wal_to_switch(cluster_factory, main, commands):
    main(cluster_factory())
    first = commands("switch-wal", "main", "--force").out
    assert commands("switch-wal", "main", "--force").out != first


def test_archive_waits_until_the_segment_is_in_the_repository(cluster_factory, main, commands):
    cluster = cluster_factory()
    settings = main(cluster)
    with receiving(settings):
        run = commands("switch-wal", "main", "--force", "--archive")
        again = commands("switch-wal", "main", "--archive")
    assert run.code == again.code == 0, run.err + again.err
    assert "is in the repository" in run.out


def test_archive_does_not_wait_for_nobody(cluster_factory, main, commands):
    main(cluster_factory())
    run = commands("switch-wal", "main", "--force", "--archive")
    assert run.code == 1 and "no receiver runs" in run.err
    assert "hint: start it: walstream run (by hand, or after --stop: walstream receive-wal main)" in run.err


def test_a_standby_is_refused(cluster_factory, standby_factory, main, commands):
    main(standby_factory(cluster_factory()))
    run = commands("switch-wal", "main")
    assert run.code == 1 and "is a standby" in run.err and "\nhint: " in run.err


def test_for_a_standby_its_primary_switches(cluster_factory, standby_factory, main, commands):
    primary = cluster_factory()
    standby = standby_factory(primary)
    main(standby)
    with open(commands.file, "a") as file:
        file.write(f"primary_conninfo = {primary.conninfo()}\n")
    primary.load(rows=10)
    current = primary.one("SELECT pg_walfile_name(pg_current_wal_lsn())")
    run = commands("switch-wal", "main", "-f", "json")
    assert run.code == 0 and json.loads(run.out) == {"main": {"segment": current}}


def test_what_is_no_primary_of_this_standby_is_not_switched(cluster_factory, standby_factory, main, commands):
    standby, stranger = standby_factory(cluster_factory()), cluster_factory()
    main(standby)
    stranger.load(rows=10)
    before = stranger.one("SELECT pg_walfile_name(pg_current_wal_lsn())")
    with open(commands.file) as file:
        section = file.read()
    for conninfo, said in [
        (standby.conninfo(), "leads to a standby"),
        (stranger.conninfo(), "leads to another cluster"),
    ]:
        with open(commands.file, "w") as file:
            file.write(f"{section}primary_conninfo = {conninfo}\n")
        run = commands("switch-wal", "main")
        assert run.code == 1 and said in run.err and "\nhint: " in run.err
    assert stranger.one("SELECT pg_walfile_name(pg_current_wal_lsn())") == before


@pytest.mark.parametrize(("words", "grant"), [([], "pg_switch_wal()"), (["--force"], "pg_checkpoint")])
def test_a_missing_privilege_is_named_with_its_remedy(cluster_factory, main, commands, words, grant):
    cluster = cluster_factory()
    cluster.sql("CREATE ROLE bob LOGIN REPLICATION")
    main(cluster, user="bob")
    run = commands("switch-wal", "main", *words)
    assert run.code == 1 and f"GRANT {'EXECUTE ON FUNCTION ' if not words else ''}{grant}" in run.err


@pytest.mark.parametrize("words", [["--archive-timeout", "3"], ["--archive", "--archive-timeout", "x"]])
def test_a_timeout_without_meaning_is_a_usage_error(server, main, commands, words):
    main(server)
    assert commands("switch-wal", "main", *words).code == 2
