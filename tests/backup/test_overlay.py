"""One archive laid over another: files replaced, patched and removed, and nothing else touched."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.incremental import incremental_file
from support.members import archive, directory, file

from backup.overlay import Overlay, prune
from backup.tar import TarParser
from catalog.errors import Corrupt, DestinationRefused

SIZE = 512
SEGMENT = "base/5/16384"
CHANGES = "base/5/INCREMENTAL.16384"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def lay(root: Path, members, layer: int = 0, cut: int = 1 << 20, **options) -> Overlay:
    """One layer, its members pushed in pieces, and pruned behind it."""
    overlay = Overlay(str(root), block_size=SIZE, mtime=float(layer), **options)
    try:
        parser, raw = TarParser(overlay), archive(members)
        for at in range(0, len(raw), cut):
            parser.write(raw[at : at + cut])
        parser.finish()
    finally:
        overlay.close()
    prune(str(root), float(layer), overlay.directories)
    return overlay


def found(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@dataclass
class Relation:
    """A file of blocks, and what a server notes of its changes between two backups."""

    blocks: list[int] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    limit: int = 0

    def write(self, number: int, value: int) -> None:
        """Write a block; what lies between it and the end is written as well, as a server does."""
        for each in range(min(len(self.blocks), number), number):
            self.write(each, 0)
        self.blocks[number : number + 1] = [value]
        self.changed.add(number)

    def truncate(self, length: int) -> None:
        if length < len(self.blocks):
            del self.blocks[length:]
            self.limit = max(self.limit, length) if self.limit else length
            self.changed = {number for number in self.changed if number < length}

    def content(self) -> bytes:
        return b"".join(bytes([value]) * SIZE for value in self.blocks)

    def incremental(self) -> bytes:
        changes = {number: bytes([self.blocks[number]]) * SIZE for number in self.changed}
        raw = incremental_file(changes, max(len(self.blocks), 0), SIZE)
        self.changed = set()
        return raw


steps = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 12), st.integers(1, 255)),
    st.tuples(st.just("truncate"), st.integers(0, 12), st.just(0)),
    st.tuples(st.just("back up"), st.just(0), st.just(0)),
)


@given(st.lists(st.integers(1, 255), max_size=10), st.lists(steps, max_size=30), st.integers(1, 2000))
def test_whatever_happened_between_the_backups_the_last_one_s_file_comes_out(
    tmp_path_factory, blocks, story, cut
):
    root = tmp_path_factory.mktemp("root")
    relation = Relation(blocks)
    lay(root, [file(SEGMENT, relation.content())])
    for layer, (what, number, value) in enumerate([*story, ("back up", 0, 0)], start=1):
        if what == "write":
            relation.write(number, value)
        elif what == "truncate":
            relation.truncate(number)
        else:
            lay(root, [file(CHANGES, relation.incremental())], layer, cut)
            assert (root / SEGMENT).read_bytes() == relation.content()


def test_a_block_that_was_cut_and_that_nobody_wrote_again_is_zeros(root: Path) -> None:
    lay(root, [file(SEGMENT, b"a" * 4 * SIZE)])
    lay(root, [file(CHANGES, incremental_file({}, 1, SIZE))], 1)
    lay(root, [file(CHANGES, incremental_file({5: b"b" * SIZE}, 3, SIZE))], 2)
    assert (root / SEGMENT).read_bytes() == b"a" * SIZE + bytes(4 * SIZE) + b"b" * SIZE


def test_a_torn_last_block_counts_for_nothing(root: Path) -> None:
    lay(root, [file(SEGMENT, b"a" * (2 * SIZE + 9))])
    lay(root, [file(CHANGES, incremental_file({}, 3, SIZE))], 1)
    assert (root / SEGMENT).read_bytes() == b"a" * 2 * SIZE + bytes(SIZE)


def test_a_whole_file_replaces_what_is_there_and_what_the_archive_lacks_goes(root: Path) -> None:
    lay(root, [directory("base"), directory("base/4"), file("base/4/1", b"x"), file("a", b"long"), file("b")])
    lay(root, [directory("base"), directory("base/5"), file("base/5/1", b"y"), file("a", b"s", 0o640)], 1)
    assert found(root) == {"a": b"s", "base/5/1": b"y"}
    assert not (root / "base" / "4").exists() and stat.S_IMODE((root / "a").stat().st_mode) == 0o640


def test_a_file_may_take_the_place_of_a_directory_and_a_directory_that_of_a_file(root: Path) -> None:
    lay(root, [directory("one"), file("one/below", b"1"), file("two", b"2")])
    lay(root, [file("one", b"3"), directory("two"), file("two/below", b"4")], 1)
    assert found(root) == {"one": b"3", "two/below": b"4"}


def test_directories_of_the_archive_stay_though_they_are_empty(root: Path) -> None:
    lay(root, [directory("pg_wal"), directory("pg_notify"), file("pg_notify/0000", b"")])
    lay(root, [directory("pg_notify"), directory("pg_twophase")], 1)
    assert sorted(os.listdir(root)) == ["pg_notify", "pg_twophase"]


def test_what_is_spared_stays(root: Path) -> None:
    (root / "mark").write_text("ours")
    (root / "space" / "below").mkdir(parents=True)
    (root / "space" / "below" / "1").write_text("x")
    (root / "other").write_text("x")
    prune(str(root), 7.0, (), ("mark", "space"))
    assert found(root) == {"mark": b"ours", "space/below/1": b"x"}


def test_more_files_than_are_removed_at_once_are_removed(root: Path, monkeypatch) -> None:
    monkeypatch.setattr("backup.overlay._AT_ONCE", 3)
    for number in range(10):
        (root / str(number)).write_text("x")
    prune(str(root), 7.0, ())
    assert list(root.iterdir()) == []


def test_changes_of_a_file_that_is_not_there_are_corrupt(root: Path) -> None:
    with pytest.raises(Corrupt, match="the backups before it lack"):
        lay(root, [file(CHANGES, incremental_file({0: b"x"}, 1, SIZE))])
    assert found(root) == {}


def test_absurd_changes_leave_the_file_as_it_was(root: Path) -> None:
    lay(root, [file(SEGMENT, b"a" * SIZE)])
    for raw in (incremental_file({0xFFFFFFF0: b"x"}, 1, SIZE), b"\0" * 12, b"short"):
        with pytest.raises(Corrupt, match="incremental file"):
            lay(root, [file(CHANGES, raw)], 1)
        assert (root / SEGMENT).read_bytes() == b"a" * SIZE


def test_a_link_in_the_way_of_changes_is_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"a" * SIZE)
    (root / "base" / "5").mkdir(parents=True)
    (root / SEGMENT).symlink_to(outside)
    for name, raw in ((CHANGES, incremental_file({0: b"x"}, 1, SIZE)), (SEGMENT, b"x")):
        with pytest.raises(DestinationRefused):
            lay(root, [file(name, raw)], 1)
    assert outside.read_bytes() == b"a" * SIZE
