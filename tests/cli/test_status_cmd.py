"""What ``status`` says, from values; real servers are asked in ``tests/server/test_status.py``."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.configurations import MAIN, loaded
from support.published import EMPTY, NOW, cluster, published, running, slot, supervisor
from support.repositories import new_repository, store_backup, store_wal
from support.values import MB, at, record

from catalog.gaps import Gap
from catalog.inventory import Run
from catalog.lsn import LSN
from catalog.reach import Branch, Window
from catalog.walname import Segment
from walstream.cli.status_cmd import all_entries
from walstream.commands import SystemFacts
from walstream.ops.receiver_facts import ReceiverFacts, SpoolFacts
from walstream.ops.status_facts import LastSegment, ServerStatus, StoredStatus
from walstream.ops.survey import Survey

CLUSTER = cluster(data_directory="/srv/pg", wal_segment_size=str(MB.nbytes))
SURVEY = Survey(
    cluster=CLUSTER, slot=slot(), stream=SystemFacts(1, 1, LSN(0x3000400)), size=5 << 30, conninfo="host=db"
)
FIRST, SECOND = record(2.25, 3.5), record(8.25, 8.5)
STORED = StoredStatus(
    size=MB,
    backups=(FIRST,),
    counting=1,
    last=LastSegment("000000010000000000000004", NOW - 120),
    gaps=(),
    open_gaps=(),
    missing=(),
    timeline=1,
    windows=(Window(FIRST, Segment(1, 9)),),
    branches=(),
    problems=(),
)
GAP = Gap(Run(1, 6, 7), datetime(2026, 1, 31, 12, tzinfo=UTC), "the server had removed it")


@pytest.fixture(autouse=True)
def utc(time_zone):
    time_zone("UTC")


@pytest.fixture
def settings(tmp_path):
    return loaded(tmp_path, MAIN + "    slot_name = main\n").server("main")


@pytest.fixture
def said(settings):
    """``said(...)``: the entries by key, of a server that is well but for the changes."""

    def say(**changes):
        well = {
            "settings": settings,
            "cluster": SURVEY,
            "wal": SURVEY,
            "named": False,
            "receiver": running(),
            "stored": STORED,
        }
        found = ServerStatus(name="main", **{**well, **changes})
        return {each.key: each for each in all_entries(found, NOW)}

    return say


def test_barmans_lines_have_barmans_keys_and_words(said):
    found = {key: (each.description, each.message) for key, each in said().items()}
    assert (
        found.items()
        >= {
            "description": ("Description", "the shop"),
            "active": ("Active", "True"),
            "pg_version": ("PostgreSQL version", "18.2"),
            "is_in_recovery": ("Cluster state", "in production"),
            "current_size": ("Current data size", "5.0 GiB"),
            "data_directory": ("PostgreSQL Data directory", "/srv/pg"),
            "current_xlog": ("Current WAL segment", "000000010000000000000030"),
            "passive_node": ("Passive node", "False"),
            "retention_policies": ("Retention policies", "not enforced"),
            "backups_number": ("No. of available backups", "1"),
            "first_backup": ("First available backup", FIRST.id),
            "last_backup": ("Last available backup", FIRST.id),
            "minimum_redundancy": ("Minimum redundancy requirements", "satisfied (1/0)"),
        }.items()
    )


def test_the_policy_and_the_redundancy_are_those_of_the_settings(said, tmp_path):
    text = MAIN + "    retention_policy = REDUNDANCY 2\n    minimum_redundancy = 2\n"
    found = said(settings=loaded(tmp_path, text).server("main"))
    assert found["retention_policies"].message == "enforced (retention: REDUNDANCY 2)"
    assert found["minimum_redundancy"].message == "FAILED (1/2)"


def test_every_entry_can_be_read_as_barmans_and_is_json(said):
    for entry in said().values():
        facts = json.loads(json.dumps(entry.as_json()))
        assert isinstance(facts["description"], str) and isinstance(facts["message"], str)


def test_a_standby_is_in_archive_recovery(said):
    standby = replace(SURVEY, cluster=replace(CLUSTER, in_recovery=True))
    assert said(cluster=standby)["is_in_recovery"].message == "in archive recovery"


def test_a_receiver_that_streams_says_since_when_and_from_where(said):
    found = said()
    assert (
        found["receiver"].message == "streaming since 2027-01-15 07:00:00+00:00 from host db1 (process 4711)"
    )
    assert found["receiver"].facts["since_timestamp"] == "1799996400"
    assert found["written_lsn"].message == "0/3000300" and found["flushed_lsn"].message == "0/3000200"
    assert found["server_lsn"].message == "0/3000400"
    assert found["receiver_lag"].message == "512 B, 0.0 s"
    assert found["receiver_lag"].facts == {"lag_bytes": 512, "lag_seconds": 0.0}
    assert found["last_archived_segment"].message == "000000010000000000000002, at 2027-01-15 07:59:00+00:00"


def test_one_that_waits_says_why(said):
    waiting = running(phase="waiting", trouble="connection refused")
    message = said(receiver=waiting)["receiver"].message
    assert message == "waiting since 2027-01-15 07:00:00+00:00 because connection refused (process 4711)"


def test_the_lag_of_one_that_waits_is_at_least_as_long(said):
    waiting = running(phase="waiting", trouble="connection refused", since=NOW - 90)
    assert said(receiver=waiting)["receiver_lag"].facts == {"lag_bytes": 512, "lag_seconds": 90.0}


def test_one_that_does_not_run_leaves_its_positions(said):
    found = said(receiver=ReceiverFacts(False, published(), EMPTY))
    assert found["receiver"].message == "not running"
    assert found["flushed_lsn"].message == "0/3000200"
    assert found["receiver_lag"].facts == {"lag_bytes": 512}
    down = Survey(stream=None)
    found = said(receiver=ReceiverFacts(False, published(), EMPTY), cluster=down, wal=down)
    assert "receiver_lag" not in found
    assert found["server_lsn"].message == "0/3000400 when last heard of"


def test_one_that_was_stopped_for_good_or_is_not_wanted_says_so(said, settings):
    stopped = ReceiverFacts(False, published(), EMPTY, stopped=True)
    assert "until 'walstream receive-wal main' starts it again" in said(receiver=stopped)["receiver"].message
    off = replace(settings, streaming_archiver=False)
    found = said(receiver=replace(stopped, stopped=False), settings=off)["receiver"]
    assert found.message == "not running, as streaming_archiver is off"


def test_a_supervisor_says_how_the_last_receiver_ended(said):
    found = said(receiver=ReceiverFacts(False, None, EMPTY, supervisor=supervisor()))["supervisor"]
    assert found.message == (
        "process 12, receivers started again: 3, next try at 2027-01-15 08:00:08+00:00, "
        "the last one ended: exit code 1: no route"
    )
    calm = supervisor(child=13, started=NOW, restarts=0, next_try=None, last_exit=None, last_error=None)
    found = said(receiver=replace(running(), supervisor=calm))["supervisor"]
    assert found.message == "process 12, receivers started again: 0"
    assert "supervisor" not in said()


def test_one_that_never_ran_has_no_positions(said):
    found = said(receiver=ReceiverFacts(False, None, EMPTY))
    assert "flushed_lsn" not in found
    assert found["last_archived_segment"].message == "000000010000000000000004, at 2027-01-15 07:58:00+00:00"


def test_what_somebody_else_archived_later_is_the_last(said):
    newer = replace(STORED, last=LastSegment("000000010000000000000004", NOW - 30))
    assert said(stored=newer)["last_archived_segment"].facts["segment"] == "000000010000000000000004"
    assert said(stored=None)["last_archived_segment"].facts["segment"] == "000000010000000000000002"


def test_a_server_on_another_timeline_has_no_lag(said):
    ahead = replace(SURVEY, stream=SystemFacts(1, 2, LSN(0x3000400)))
    found = said(wal=ahead)
    assert found["timeline"].message == "1; the server is on 2" and "receiver_lag" not in found


@pytest.mark.parametrize(
    ("named", "state", "message"),
    [
        (False, {}, "no"),
        (True, {"synchronous": True}, "yes, commits may wait for this receiver"),
        (True, {"synchronous": False}, "no, although commits may wait for this receiver"),
        (False, {"synchronous": True}, "yes, although no commit waits for this receiver"),
        (None, {"synchronous": True, "named": True}, "yes, commits may wait for this receiver"),
    ],
)
def test_whether_commits_may_wait_for_us(said, named, state, message):
    assert said(named=named, receiver=running(**state))["synchronous"].message == message


def test_commits_that_wait_for_nobody_or_are_held_up_are_told(said):
    stopped = ReceiverFacts(False, published(), EMPTY)
    assert "which does not run" in said(named=True, receiver=stopped)["synchronous"].message
    withheld = said(named=True, receiver=running(withheld=True, synchronous=True))["synchronous"]
    assert "none is acknowledged" in withheld.message and withheld.facts["withheld"] is True


def test_the_spool_and_what_keeps_it_from_being_emptied(said, settings):
    spool = SpoolFacts(2, 2 << 24, NOW - 60)
    limited = said(receiver=running(spool), settings=replace(settings, spool_limit=1 << 30))["spool"]
    assert limited.message.endswith(" (limit 1.0 GiB)") and limited.facts["spool_limit_bytes"] == 1 << 30
    found = said(receiver=running(spool, archive_trouble="no space"))
    assert found["spool"].message == "2, 32.0 MiB, the oldest since 2027-01-15 07:59:00+00:00"
    assert found["spool"].facts["spool_bytes"] == 2 << 24
    assert found["archive_trouble"].message == "no space"
    assert "archive_trouble" not in said()


def test_the_slot(said):
    found = said()["replication_slot"]
    assert found.message == (
        "main, active, reserved, keeps 1.0 KiB of WAL from 0/3000000 on, may lose it after 1.0 GiB more"
    )
    assert (found.facts["retained_bytes"], found.facts["safe_wal_size_bytes"]) == (1024, 1 << 30)


def test_a_slot_that_is_lost_or_missing_or_not_known(said):
    lost = slot(
        active=False, restart=None, retained=None, safe=None, wal_status="lost", invalidated="wal_removed"
    )
    found = said(wal=replace(SURVEY, slot=replace(lost, inactive_since=NOW)))["replication_slot"]
    assert found.message == (
        "main, not active since 2027-01-15 08:00:00+00:00, lost, invalidated (wal_removed), keeps no WAL"
    )
    assert found.facts["inactive_since_timestamp"] == "1800000000"
    assert said(wal=replace(SURVEY, slot=None))["replication_slot"].message == "main is not on the server"
    assert "did not answer" in said(wal=Survey())["replication_slot"].message


def test_the_recovery_window_ends_at_what_is_flushed(said):
    found = said(receiver=running(flushed=at(10.25)))["recovery_window"]
    assert (
        found.message == f"from 2026-01-31 12:03:30+00:00 (backup {FIRST.id}) up to {at(10.25)} on timeline 1"
    )
    for flushed in (at(9.75), at(11.5)):  # a position that belongs to no neighbour of the last segment
        assert f"up to {at(10)} " in said(receiver=running(flushed=flushed))["recovery_window"].message
    assert f"up to {at(10)} " in said(receiver=None)["recovery_window"].message


def test_the_recovery_window_says_up_to_which_time_it_goes(said):
    last = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    found = said(stored=replace(STORED, last_time=last), receiver=None)["recovery_window"]
    assert found.message.endswith("on timeline 1, by time up to 2026-01-31 12:30:00+00:00")
    assert found.facts["windows"][0]["last_time"] == "2026-01-31 12:30:00+00:00"


def test_a_window_before_a_gap_is_shown_too(said):
    two = (Window(FIRST, Segment(1, 5)), Window(SECOND, Segment(1, 9)))
    found = said(stored=replace(STORED, windows=two))["recovery_window"]
    assert SECOND.id in found.message
    (earlier,) = found.details
    assert earlier.startswith("before that: from ") and FIRST.id in earlier and f"up to {at(6)} " in earlier
    assert [each["backup_id"] for each in found.facts["windows"]] == [FIRST.id, SECOND.id]


def test_a_window_before_a_gap_ends_where_the_records_of_its_partial_segment_end(said):
    two = (Window(FIRST, Segment(1, 5), at(6.25)), Window(SECOND, Segment(1, 9)))
    found = said(stored=replace(STORED, windows=two))["recovery_window"]
    assert f"up to {at(6.25)} " in found.details[0]
    assert found.facts["windows"][0]["end_lsn"] == str(at(6.25))


def test_a_window_that_ends_in_a_partial_segment_of_a_new_timeline_names_that_one(said):
    stored = replace(STORED, windows=(Window(FIRST, Segment(1, 9), at(10.25), entered=2),))
    found = said(stored=stored, receiver=None)["recovery_window"]
    assert found.message.endswith(f"up to {at(10.25)} on timeline 2")
    assert found.facts["windows"][0]["timeline"] == 2
    found = said(stored=stored, receiver=running(flushed=at(10.5), timeline=2))["recovery_window"]
    assert found.message.endswith(f"up to {at(10.5)} on timeline 2")


def test_without_a_backup_there_is_no_window(said):
    found = said(stored=replace(STORED, windows=(), backups=()))
    assert found["recovery_window"].message == "none: no backup can be restored"
    assert (found["first_backup"].message, found["backups_number"].message) == ("None", "0")


def test_gaps_say_when_and_why_and_what_to_do(said):
    found = said(stored=replace(STORED, gaps=(GAP,), open_gaps=(GAP,)))["wal_gaps"]
    assert found.message == "1 open"
    assert found.details == (
        "open: 000000010000000000000006 to 000000010000000000000007, since 2026-01-31 12:00:00+00:00 because "
        "the server had removed it; remedy: take a new backup: walstream backup main",
    )
    assert found.facts["gaps"][0]["open"] is True and found.facts["gaps"][0]["segments"] == 2
    found = said(stored=replace(STORED, gaps=(GAP,)))["wal_gaps"]
    assert found.message == "1 closed" and "remedy" not in found.details[0]


def test_wal_that_is_missing_without_a_record(said):
    found = said(stored=replace(STORED, missing=(Run(1, 6, 7), Run(1, 9, 9))))["wal_gaps"]
    assert found.message == "3 segments missing" and "nothing says why" in found.details[0]
    assert found.facts["missing"][1] == ["000000010000000000000009"] * 2


def test_branches_say_how_to_get_at_them(said):
    found = said(stored=replace(STORED, timeline=2, branches=(Branch(1, at(5.5), at(7)),)))["old_branches"]
    assert found.message == "1 held"
    assert f"timeline 1 from {at(5.5)} to {at(7)}" in found.details[0]
    assert "restore --target-tli 1" in found.details[0]


def test_a_repository_is_shown_by_its_path_without_any_configuration(commands, tmp_path):
    repository = new_repository(tmp_path / "shop")
    backup = store_backup(repository)
    store_wal(repository, range(2, 6))
    run = commands("status", repository.root, "-f", "json")
    found = json.loads(run.out)["shop"]
    assert run.code == 0 and run.err == ""
    assert found["last_backup"]["message"] == backup.id
    assert found["recovery_window"]["windows"][0]["end_lsn"] == str(at(6))
    assert "pg_version" not in found and "synchronous" not in found


def test_a_damaged_record_is_told_and_the_rest_is_shown(commands, tmp_path):
    repository = new_repository(tmp_path / "shop")
    backup = store_backup(repository)
    store_wal(repository, range(2, 6))
    (tmp_path / "shop" / "base" / "20200101T000000").mkdir()
    (tmp_path / "shop" / "base" / "20200101T000000" / "record.json").write_text("{")
    run = commands("status", repository.root)
    assert run.code == 0 and backup.id in run.out
    assert "20200101T000000" in run.err and "does not count" in run.err


def test_an_inactive_server_is_not_asked_and_a_broken_one_does_not_hide_the_others(commands, tmp_path):
    lines = [
        "[walstream]",
        f"walstream_home = {tmp_path}",
        "[shop]",
        "conninfo = host=/nowhere",
        "active = off",
    ]
    lines += ["[other]", "conninfo = host=/nowhere", "nonsense = 1"]
    (tmp_path / "walstream.conf").write_text("\n".join([*lines, ""]))
    backup = store_backup(new_repository(tmp_path / "shop"))
    run = commands("status", "all")
    assert run.code == 2 and "nonsense" in run.err and "cannot connect" not in run.err
    assert "\tActive: False\n" in run.out and "PostgreSQL version" not in run.out
    assert backup.id not in run.out  # its WAL is not stored, so it cannot be restored


def test_no_repository_is_a_failure(commands, tmp_path):
    run = commands("status", str(tmp_path / "nowhere"))
    assert run.code == 1 and "no repository yet" in run.err
