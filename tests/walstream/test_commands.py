import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.values import lsns, timelines

from catalog.errors import ProtocolError, UsageError
from catalog.lsn import LSN
from walstream import commands
from walstream.commands import BaseBackupOptions, SlotPosition, SystemFacts

VERSIONS = (130023, 140023, 150018, 160014, 170010, 180004)
OLD = VERSIONS[:2]
HOSTILE = ["", "A", "a-b", 'a"b', "a b", "a;b", "ä", "²", "a\n", "x" * 64, "a'b", "a\0"]

rows = st.lists(st.none() | st.binary(max_size=30), max_size=5)
slot_names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=63)
harmless = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_slot_reserves_wal_at_once_in_the_words_of_its_version(version):
    reserve = "RESERVE_WAL" if version in OLD else "(RESERVE_WAL)"
    assert commands.create_slot("a", version) == f'CREATE_REPLICATION_SLOT "a" PHYSICAL {reserve}'
    assert f'"a" TEMPORARY PHYSICAL {reserve}' in commands.create_slot("a", version, temporary=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_base_backup_never_waits_and_brings_manifest_and_map_in_the_words_of_its_version(version):
    command = commands.base_backup(BaseBackupOptions("x", fast_checkpoint=True, max_rate=32), version)
    if version in OLD:
        wanted = "LABEL 'x' PROGRESS FAST NOWAIT MAX_RATE 32 TABLESPACE_MAP MANIFEST 'yes'"
    else:
        wanted = "(LABEL 'x', PROGRESS, CHECKPOINT 'fast', WAIT false, MAX_RATE 32, TABLESPACE_MAP, MANIFEST 'yes')"
    assert command == f"BASE_BACKUP {wanted}"


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_not_asked_for_is_not_in_a_base_backup(version):
    command = commands.base_backup(BaseBackupOptions("x", progress=False), version)
    assert not re.search("PROGRESS|FAST|CHECKPOINT|MAX_RATE", command)


@given(slot_names)
def test_every_name_that_postgresql_allows_for_a_slot_is_allowed(name):
    assert commands.checked_slot_name(name) == name


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "command",
    [
        commands.checked_slot_name,
        commands.drop_slot,
        commands.read_slot,
        lambda name: commands.create_slot(name, 180000),
        lambda name: commands.start_replication(LSN(0), 1, name),
    ],
)
def test_no_other_name_gets_into_a_command(command, name):
    with pytest.raises(UsageError) as caught:
        command(name)
    assert "lower-case" in caught.value.hint


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a'", "é", "³", "a.b", "a\n"])
def test_no_hostile_setting_is_shown(name):
    with pytest.raises(UsageError):
        commands.show(name)


def test_a_setting_is_shown_by_its_name():
    assert commands.show("wal_segment_size") == "SHOW wal_segment_size"


@given(lsns, timelines, st.none() | slot_names)
def test_a_stream_is_started_with_position_and_timeline(position, timeline, slot):
    command = commands.start_replication(position, timeline, slot)
    found = re.fullmatch(r'START_REPLICATION (?:SLOT "(\w+)" )?PHYSICAL (\S+) TIMELINE (\d+)', command)
    assert (found[1], LSN.parse(found[2]), int(found[3])) == (slot, position, timeline)


def test_a_history_is_asked_for_by_number():
    assert commands.timeline_history(26) == "TIMELINE_HISTORY 26"


@given(st.text(harmless, max_size=200))
@example("it's ''quoted'' \\ ); DROP")
def test_a_label_is_one_string_of_the_replication_grammar(label):
    command = commands.base_backup(BaseBackupOptions(label), 180000)
    string = re.match(r"BASE_BACKUP \(LABEL '((?:[^']|'')*)', PROGRESS, ", command)
    assert string[1].replace("''", "'") == label


@pytest.mark.parametrize("label", ["a\nb", "a\0", "\x7f", "x" * 1025, "ä" * 513, "\udcff", "\ud800"])
def test_a_label_that_would_spoil_backup_label_is_refused(label):
    with pytest.raises(UsageError):
        commands.base_backup(BaseBackupOptions(label), 180000)


def test_a_label_of_1024_bytes_is_accepted():
    assert "ä" * 512 in commands.base_backup(BaseBackupOptions("ä" * 512), 130000)


def test_an_incremental_backup_is_asked_for_by_an_option():
    command = commands.base_backup(BaseBackupOptions("x", incremental=True), 170000)
    assert command.endswith("TABLESPACE_MAP, MANIFEST 'yes', INCREMENTAL)")


def test_the_row_of_identify_system_is_read():
    row = (b"7711084784289903658", b"3", b"16/B374D848", None)
    assert commands.system_facts(row) == SystemFacts(7711084784289903658, 3, LSN.parse("16/B374D848"))


def test_the_row_of_a_slot_is_read_and_a_missing_slot_is_all_none():
    found = commands.slot_position((b"physical", b"0/1000000", b"1"))
    assert found == SlotPosition("physical", LSN(1 << 24), 1)
    assert commands.slot_position((b"physical", None, None)) == SlotPosition("physical", None, None)
    assert commands.slot_position((None, None, None)) == SlotPosition(None, None, None)


def test_the_row_that_ends_a_timeline_is_read():
    assert commands.next_timeline((b"2", b"0/3000000")) == (2, LSN(3 << 24))


def test_a_history_is_taken_as_the_bytes_that_came():
    assert commands.history_content((b"00000002.history", b"1\t0/1\tna\xefve\n")) == b"1\t0/1\tna\xefve\n"


@given(rows)
@example([b"9" * 5000, b"1", b"0/0"])
@example(["٣".encode(), b"1", b"0/0"])
@pytest.mark.parametrize(
    "read",
    [commands.system_facts, commands.slot_position, commands.next_timeline, commands.history_content],
)
def test_no_row_raises_anything_but_a_protocol_error(read, row):
    try:
        read(row)
    except ProtocolError as error:
        assert "the server" in error.message
