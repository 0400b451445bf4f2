"""What is sent to another machine as tar: members, trees, and the settings that stay here."""

import io
import os
import stat
import tarfile
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.members import Collected, contents, directory, file
from support.streams import Kept

from backup.tar import Kind, Member
from backup.tar_stream import LARGEST, LARGEST_SETTINGS, MOST, Divider, TarStream, send_tree
from catalog.errors import Corrupt


def push(sink, members):
    for member, data in members:
        sink.begin(member)
        if data:
            sink.data(memoryview(data))
        sink.end()


def unpacked(stored):
    """What tarfile reads: name → (mode, content or None)."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(stored)) as archive:
        for each in archive:
            content = archive.extractfile(each)
            found[each.name] = (each.mode, content.read() if content else None)
    return found


@given(st.lists(contents, max_size=8, unique_by=lambda content: content[0].name))
def test_members_arrive_with_sane_modes(members):
    members = [each for each in members if each[0].kind is not Kind.SYMLINK]
    kept = Kept()
    stream = TarStream(kept)
    push(stream, members)
    stream.finish()
    found = unpacked(kept.content)
    for member, data in members:
        mode, content = found[member.name]
        assert (content or b"") == data
        assert mode in ((0o700, 0o750) if member.kind is Kind.DIRECTORY else (mode & 0o750 | 0o600,))


def test_links_are_refused():
    with pytest.raises(Corrupt, match="symbolic link"):
        TarStream(Kept()).begin(Member("a", Kind.SYMLINK, link="/etc"))


@pytest.fixture
def divided(tmp_path):
    """``divided(members)``: the names that were passed on, and those kept below ``tmp_path``."""

    def run(members):
        passed = Collected()
        divider = Divider(
            str(tmp_path), passed, transform={"map": bytes.upper}, kept=("global/c",), skip=("mark",)
        )
        with closing(divider):
            push(divider, members)
        kept = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
        return [member.name for member, _ in passed.members], kept, divider

    return run


def test_settings_stay_here_and_data_is_passed_on(divided, tmp_path):
    passed, kept, divider = divided([
        file("PG_VERSION", b"18"), directory("base", 0o750), file("base/1.conf", b"x"), file("map", b"a"),
        file("global/c", b"c", 0o640), file("global/d", b"d"), file("mark"), file("pg_hba.conf", b"h"),
        file("pg_wal/x.conf"), file("conf.d/a.conf"), file("log/l", bytes(LARGEST + 1)), file("baseline"),
    ])  # fmt: skip
    assert passed == ["base", "base/1.conf", "global/d", "pg_wal/x.conf", "log/l"]
    assert kept == {"PG_VERSION", "map", "global/c", "pg_hba.conf", "conf.d/a.conf", "baseline"}
    assert (tmp_path / "map").read_bytes() == b"A"
    assert divider.group_access and divider.modes == {"global/c": 0o640}


def test_many_logs_do_not_keep_settings_from_being_read(divided):
    logs = [file(f"log/{number}", bytes(LARGEST)) for number in range(MOST // LARGEST)]
    passed, kept, _ = divided([*logs, file("conf.d/z.conf", bytes(LARGEST))])
    assert "conf.d/z.conf" in kept and 0 < len(passed) < len(logs)


def test_settings_of_an_absurd_size_are_refused(divided):
    with pytest.raises(Corrupt, match="far too much for settings"):
        divided([(Member("conf.d/z.conf", size=LARGEST_SETTINGS + 1), b"")])


def test_a_second_file_of_the_same_name_is_refused(divided):
    with pytest.raises(Exception, match="in the way"):
        divided([file("postgresql.conf", b"a"), file("postgresql.conf", b"b")])


def test_a_tree_is_sent_with_modes_and_without_links(tmp_path):
    (tmp_path / "d" / "empty").mkdir(parents=True)
    os.chmod(tmp_path / "d", 0o750)
    (tmp_path / "d" / ("n" * 200)).write_bytes(b"long" * 1000)
    (tmp_path / "left").write_bytes(b"")
    os.symlink("/etc", tmp_path / "link")
    kept = Kept()
    send_tree(str(tmp_path), kept, ("left",))
    found = unpacked(kept.content)
    assert set(found) == {"d", "d/empty", "d/" + "n" * 200}
    assert found["d"] == (0o750, None) and found["d/" + "n" * 200][1] == b"long" * 1000
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o750
