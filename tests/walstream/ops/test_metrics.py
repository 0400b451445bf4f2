"""The text of a scrape: accepted by Prometheus' own parser, with the right values, without what is not known."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.configurations import loaded
from support.metrics import samples_of
from support.published import NOW, published, running, slot

from catalog.lsn import LSN
from catalog.supervisor_state import SupervisorState
from catalog.usage import Usage
from walstream import __version__
from walstream.ops.check import Report
from walstream.ops.figures import Checked, LastBackup, ServerFigures, StoredFigures
from walstream.ops.items import failure, fine, warned
from walstream.ops.metric_table import METRICS
from walstream.ops.metrics import exposition, names
from walstream.ops.receiver_facts import ReceiverFacts, SpoolFacts
from walstream.ops.survey import Survey

STORED = StoredFigures(
    counts={"DONE": 2, "WAITING_FOR_WALS": 0, "SUSPECT": 0, "FAILED": 1, "STARTED": 0},
    last={"DONE": LastBackup(NOW - 3600, 1 << 40, 1 << 30, 12.5), "FAILED": LastBackup(NOW - 60)},
    recoverable_since=NOW - 86400,
    open_gaps=1,
    archived_at=NOW - 5,
    wal=Usage(700, 1 << 34),
    free=1 << 35,
    room=1 << 36,
)
ITEMS = (fine("PostgreSQL"), warned("clock", "late"), failure("WAL gaps", "one", "mend it"), fine("WAL gaps"))


def checked(**changes):
    return Checked(Report("main", True, ITEMS, {}, Survey(slot=slot(**changes))), NOW - 7, 0.25)


@pytest.fixture
def settings(tmp_path):
    text = "[walstream]\nwalstream_home = /srv\n[main]\nconninfo = host=x\n[off]\nconninfo = host=x\nactive = off\n"
    return loaded(tmp_path, text)


@pytest.fixture
def everything(settings):
    """A server of which all is known."""
    supervisor = SupervisorState(1, NOW, 4711, NOW, 3, None, None, None)
    spool = SpoolFacts(3, 3 << 24, NOW - 30)
    receiver = replace(running(spool, flushed=LSN(0x3000100), lag=0.5), supervisor=supervisor)
    return ServerFigures(
        name="main",
        settings=settings.server("main"),
        readable={"receiver": True, "repository": True},
        receiver=receiver,
        stored=STORED,
        checked=checked(),
    )


def told(*servers):
    return samples_of(exposition(servers, NOW).decode())


def test_all_that_is_known_is_told_with_its_value(everything):
    assert told(everything) == {
        ("walstream_build_info", __version__): 1,
        ("walstream_configuration_ok", "main"): 1,
        ("walstream_server_active", "main"): 1,
        ("walstream_readable", "receiver", "main"): 1,
        ("walstream_readable", "repository", "main"): 1,
        ("walstream_receiver_up", "main"): 1,
        ("walstream_receiver_streaming", "main"): 1,
        ("walstream_receiver_stopped", "main"): 0,
        ("walstream_receiver_lag_bytes", "main"): 0x300,
        ("walstream_receiver_lag_seconds", "main"): 0.5,
        ("walstream_receiver_flushed_position_bytes", "main"): 0x3000100,
        ("walstream_receiver_published_timestamp_seconds", "main"): NOW,
        ("walstream_receiver_restarts_total", "main"): 3,
        ("walstream_spool_segments", "main"): 3,
        ("walstream_spool_bytes", "main"): 3 << 24,
        ("walstream_spool_oldest_timestamp_seconds", "main"): NOW - 30,
        ("walstream_last_archived_wal_timestamp_seconds", "main"): NOW - 5,
        ("walstream_wal_segments", "main"): 700,
        ("walstream_wal_bytes", "main"): 1 << 34,
        ("walstream_open_gaps", "main"): 1,
        ("walstream_backups", "main", "DONE"): 2,
        ("walstream_backups", "main", "WAITING_FOR_WALS"): 0,
        ("walstream_backups", "main", "SUSPECT"): 0,
        ("walstream_backups", "main", "FAILED"): 1,
        ("walstream_backups", "main", "STARTED"): 0,
        ("walstream_last_backup_timestamp_seconds", "main", "DONE"): NOW - 3600,
        ("walstream_last_backup_timestamp_seconds", "main", "FAILED"): NOW - 60,
        ("walstream_last_backup_size_bytes", "main", "DONE"): 1 << 40,
        ("walstream_last_backup_stored_bytes", "main", "DONE"): 1 << 30,
        ("walstream_last_backup_duration_seconds", "main", "DONE"): 12.5,
        ("walstream_recoverable_since_timestamp_seconds", "main"): NOW - 86400,
        ("walstream_repository_free_bytes", "main"): 1 << 35,
        ("walstream_repository_room_bytes", "main"): 1 << 36,
        ("walstream_slot_active", "main"): 1,
        ("walstream_slot_retained_bytes", "main"): 0x400,
        ("walstream_slot_safe_wal_bytes", "main"): 1 << 30,
        ("walstream_slot_wal_status", "main", "reserved"): 1,
        ("walstream_slot_wal_status", "main", "extended"): 0,
        ("walstream_slot_wal_status", "main", "unreserved"): 0,
        ("walstream_slot_wal_status", "main", "lost"): 0,
        ("walstream_check_ok", "PostgreSQL", "main"): 1,
        ("walstream_check_ok", "clock", "main"): 1,
        ("walstream_check_ok", "WAL gaps", "main"): 0,
        ("walstream_check_timestamp_seconds", "main"): NOW - 7,
        ("walstream_check_duration_seconds", "main"): 0.25,
    }


def test_a_broken_section_is_told_and_hides_no_other_server(everything):
    found = told(ServerFigures(name="bad", readable={}), everything)
    assert [key for key in found if "bad" in key] == [("walstream_configuration_ok", "bad")]
    assert found["walstream_configuration_ok", "bad"] == 0
    assert found["walstream_receiver_up", "main"] == 1


def test_what_cannot_be_read_is_told_and_nothing_is_made_up_for_it(settings):
    blind = ServerFigures(
        name="main", settings=settings.server("main"), readable={"receiver": False, "repository": False}
    )
    found = told(blind)
    assert (
        found["walstream_readable", "receiver", "main"]
        == found["walstream_readable", "repository", "main"]
        == 0
    )
    assert {key[0] for key in found} == {
        "walstream_build_info", "walstream_configuration_ok", "walstream_server_active", "walstream_readable"
    }  # fmt: skip


def test_no_receiver_is_expected_of_an_inactive_server(settings):
    found = told(
        ServerFigures(
            name="off", settings=settings.server("off"), readable={"repository": True}, stored=STORED
        )
    )
    assert found["walstream_server_active", "off"] == 0 and found["walstream_open_gaps", "off"] == 1
    assert not [key for key in found if "_receiver_" in key[0] or "receiver" in key]


def test_a_receiver_that_has_ended_neither_runs_nor_streams_whatever_it_had_published(everything):
    found = told(
        replace(everything, receiver=ReceiverFacts(False, published(), SpoolFacts(0, 0, None), True))
    )
    assert found["walstream_receiver_up", "main"] == found["walstream_receiver_streaming", "main"] == 0
    assert found["walstream_receiver_stopped", "main"] == 1
    assert not [key for key in found if "restarts" in key[0] or "oldest" in key[0]]


def test_a_slot_without_a_limit_has_no_safe_size_and_one_that_is_lost_says_so(everything):
    found = told(
        replace(everything, checked=checked(wal_status="lost", safe=None, retained=None, active=False))
    )
    assert found["walstream_slot_wal_status", "main", "lost"] == 1
    assert found["walstream_slot_active", "main"] == 0
    assert not [key for key in found if "safe" in key[0] or "retained" in key[0]]


@given(st.text(), st.text())
def test_any_name_comes_through_the_parser_as_it_was(server, item):
    report = Report(server, True, (failure(item, "", ""),))
    figures = ServerFigures(name=server, readable={}, checked=Checked(report, NOW, 0.0))
    found = told(figures)
    assert found["walstream_configuration_ok", server] == 0
    assert found["walstream_check_ok", item, server] == 0


def test_names_follow_the_conventions():
    for name in names():
        assert re.fullmatch(r"walstream_[a-z]+(_[a-z]+)*", name)
        assert not re.search(r"(_milliseconds|_ms|_kb|_mib|_percent|_size|_time|_age)$", name)
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    families = {
        family.name: family for family in text_string_to_metric_families(exposition([], NOW).decode())
    }
    assert len(families) == len(names())
    for family in families.values():
        assert (family.type == "counter") == (f"{family.name}_total" in names()), family.name
        assert family.documentation[0].isupper() or family.documentation[0].isdigit()
