from dataclasses import replace

import pytest
from support.configurations import MAIN, loaded
from support.published import NOW

from catalog.lsn import LSN
from walstream.cli.replication_text import facts_of, lines_of, minimal_line, name_of, stage_of
from walstream.replication import Client

CURRENT = LSN(0x3000000)
OURS = Client(
    pid=42,
    slot="main",
    application_name="walstream_receive_wal",
    user="walstream",
    address="192.0.2.7",
    hostname=None,
    port=51234,
    started=NOW,
    xmin=None,
    state="streaming",
    sync_state="quorum",
    sync_priority=1,
    sent=LSN(0x3000000),
    written=LSN(0x2FFFC00),
    flushed=LSN(0x2FFF800),
    replayed=None,
)
STANDBY = replace(
    OURS, slot="standby", application_name="standby", sync_state="potential", replayed=LSN(0x2000000)
)
NOTHING = dict.fromkeys(
    ("state", "sync_state", "sync_priority", "sent", "written", "flushed", "replayed", "port")
)
HIDDEN = replace(STANDBY, **NOTHING, address=None)
BACKUP = replace(
    OURS, slot=None, application_name="walstream_backup", state="backup", written=None, flushed=None
)


@pytest.fixture(autouse=True)
def utc(time_zone):
    time_zone("UTC")


@pytest.fixture
def settings(tmp_path):
    return loaded(tmp_path, MAIN + "    slot_name = main\n").server("main")


@pytest.mark.parametrize(
    ("client", "name", "stage"),
    [
        (OURS, "Quorum WAL streamer", "3/3 Remote write"),
        (replace(OURS, replayed=LSN(5)), "Quorum WAL streamer", "3/3 Remote write"),
        (replace(OURS, written=None), "Quorum WAL streamer", "2/3 WAL Sent (min)"),
        (replace(OURS, written=None, sent=None), "Quorum WAL streamer", "1/3 1-safe"),
        (STANDBY, "Potential standby", "5/5 Hot standby (max)"),
        (BACKUP, "Base backup", "2/3 WAL Sent (min)"),
        (HIDDEN, "Client", "-"),
    ],
)
def test_what_a_client_is_and_how_much_it_vouches_for(settings, client, name, stage):
    assert (name_of(client, settings), stage_of(client, settings)) == (name, stage)


def test_our_receiver_is_known_by_its_slot_even_when_all_else_is_hidden(settings):
    hidden = replace(HIDDEN, slot="main")
    assert facts_of(hidden, settings, CURRENT)["our_receiver"] is True
    assert facts_of(HIDDEN, settings, CURRENT)["our_receiver"] is False


def test_where_we_have_a_slot_a_receiver_without_it_is_another_servers(settings):
    for other in (None, "other"):
        assert facts_of(replace(OURS, slot=other), settings, CURRENT)["our_receiver"] is False


def test_where_we_have_none_our_receiver_is_known_by_its_name(settings):
    settings = replace(settings, slot_name=None)
    assert facts_of(replace(OURS, slot=None), settings, CURRENT)["our_receiver"] is True
    assert facts_of(BACKUP, settings, CURRENT)["our_receiver"] is False


def test_each_position_says_how_far_it_is_behind(settings):
    found = facts_of(OURS, settings, CURRENT)
    assert (found["sent_lsn_diff_bytes"], found["write_lsn_diff"], found["flush_lsn_diff_bytes"]) == (
        0,
        "1.0 KiB",
        2048,
    )
    assert "replay_lsn" not in found
    assert found["started_at"] == "2027-01-15 08:00:00+00:00"


def test_what_people_read(settings):
    name, *lines = lines_of(OURS, settings, CURRENT)
    assert name == "Quorum WAL streamer (the receiver of this server)"
    assert "IP Address      : 192.0.2.7 / Port: 51234 / Host: -" in lines
    assert "Current state   : streaming (quorum)" in lines
    assert lines[-1] == "Flush LSN       : 0/2FFF800 (diff: 2.0 KiB)"
    assert "Current state   : hidden" in lines_of(HIDDEN, settings, CURRENT)


def test_one_line_for_each_kind(settings):
    assert minimal_line(OURS, settings) == (
        "W) walstream@192.0.2.7 S:0/3000000 W:0/2FFFC00 P:1 AN:walstream_receive_wal (the receiver of this server)"
    )
    assert minimal_line(STANDBY, settings) == (
        "R) walstream@192.0.2.7 S:0/3000000 W:0/2FFFC00 F:0/2FFF800 R:0/2000000 P:1 AN:standby"
    )
    assert minimal_line(HIDDEN, settings) == "-) walstream@- S:- W:- P:- AN:standby"


def test_a_connection_by_socket_and_one_that_is_hidden_differ(settings):
    socket = replace(OURS, address=None, port=-1)
    assert facts_of(socket, settings, CURRENT)["communication"] == "Unix domain socket"
    assert facts_of(HIDDEN, settings, CURRENT)["communication"] == "-"
