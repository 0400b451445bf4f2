import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cuts import ways
from support.members import Content, archive, directory, file, names

from backup.extract import MAX_TRANSFORMED, Extractor
from backup.tar import Kind, Member, TarParser
from backup.tree import sync_tree
from catalog.errors import Corrupt, DestinationRefused, StorageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def lay(extractor: Extractor, members: list[Content]) -> None:
    """Lay members down and close, as a restore does."""
    try:
        parser = TarParser(extractor)
        parser.write(archive(members))
        parser.finish()
        extractor.release()
    finally:
        extractor.close()


def found(root: Path) -> dict[bytes, bytes]:
    def walk(path: bytes) -> Iterator[tuple[bytes, bytes]]:
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                yield from walk(entry.path)
            else:
                with open(entry.path, "rb") as stored:
                    yield os.path.relpath(entry.path, os.fsencode(root)), stored.read()

    return dict(walk(os.fsencode(root)))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_files_and_directories_appear_with_their_content(root: Path) -> None:
    lay(Extractor(str(root)), [directory("pg_wal"), file("empty"), file("base/5/1", b"x" * 9000)])
    assert found(root) == {b"empty": b"", b"base/5/1": b"x" * 9000}
    assert (root / "pg_wal").is_dir()


def test_the_result_does_not_depend_on_how_the_archive_was_cut(tmp_path: Path) -> None:
    members = [file("a", b"1" * 700), directory("d"), file("d/b", b"2")]
    for number, pieces in enumerate(ways(archive(members))):
        root = tmp_path / str(number)
        root.mkdir()
        extractor = Extractor(str(root))
        parser = TarParser(extractor)
        for piece in pieces:
            parser.write(piece)
        parser.finish()
        extractor.close()
        assert found(root) == {b"a": b"1" * 700, b"d/b": b"2"}


@pytest.mark.parametrize(
    ("archived", "laid"), [(0o600, 0o600), (0o640, 0o640), (0o777, 0o750), (0o6755, 0o750), (0o000, 0o600)]
)
def test_files_keep_their_mode_but_never_open_to_everybody(root: Path, archived: int, laid: int) -> None:
    lay(Extractor(str(root)), [file("f", b"", archived)])
    assert mode(root / "f") == laid


@pytest.mark.parametrize(
    ("archived", "laid"), [(0o700, 0o700), (0o750, 0o750), (0o777, 0o750), (0o000, 0o700), (0o740, 0o700)]
)
def test_directories_are_private_or_open_to_the_group(root: Path, archived: int, laid: int) -> None:
    extractor = Extractor(str(root))
    lay(extractor, [directory("d", archived)])
    assert mode(root / "d") == laid
    assert extractor.group_access is (laid == 0o750)


def test_modes_do_not_depend_on_the_umask(root: Path) -> None:
    before = os.umask(0o077)
    try:
        lay(Extractor(str(root)), [directory("d", 0o750), file("d/f", b"x", 0o640)])
    finally:
        os.umask(before)
    assert (mode(root / "d"), mode(root / "d" / "f")) == (0o750, 0o640)


def test_what_is_held_back_appears_with_release(root: Path) -> None:
    extractor = Extractor(str(root), hold={"global/pg_control"})
    parser = TarParser(extractor)
    parser.write(archive([file("global/pg_control", b"control"), file("global/1", b"")]))
    parser.finish()
    assert not (root / "global" / "pg_control").exists()
    sync_tree(str(root))
    extractor.release()
    extractor.close()
    assert found(root) == {b"global/pg_control": b"control", b"global/1": b""}


def test_a_small_member_can_be_given_other_content(root: Path) -> None:
    transform = {"tablespace_map": lambda content: content.replace(b"old", b"much newer")}
    members = [file("tablespace_map", b"1 /old\n"), file("other", b"old")]
    lay(Extractor(str(root), transform=transform), members)
    assert found(root) == {b"tablespace_map": b"1 /much newer\n", b"other": b"old"}


def test_a_member_to_be_skipped_is_not_there_and_its_neighbours_are(root: Path) -> None:
    (root / "mark").write_bytes(b"ours")
    lay(Extractor(str(root), skip={"mark"}), [file("a", b"1"), file("mark", b"theirs"), file("b", b"2")])
    assert found(root) == {b"a": b"1", b"b": b"2", b"mark": b"ours"}


def test_an_empty_member_can_be_given_other_content_too(root: Path) -> None:
    lay(Extractor(str(root), transform={"a": lambda content: b"x" + content}), [file("a")])
    assert found(root) == {b"a": b"x"}


def test_a_member_too_large_to_be_changed_in_memory_is_corrupt(root: Path) -> None:
    extractor = Extractor(str(root), transform={"tablespace_map": bytes})
    with pytest.raises(Corrupt, match="too much"):
        extractor.begin(Member("tablespace_map", size=MAX_TRANSFORMED + 1))
    extractor.close()


def test_a_symbolic_link_in_the_archive_is_corrupt(root: Path) -> None:
    with pytest.raises(Corrupt, match="symbolic link to '/etc'"):
        lay(Extractor(str(root)), [(Member("link", Kind.SYMLINK, link="/etc"), b"")])
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", "a//b", "."])
@pytest.mark.parametrize("kind", [Kind.FILE, Kind.DIRECTORY])
def test_a_name_that_leads_outside_is_corrupt_even_without_the_parser(
    root: Path, name: str, kind: Kind
) -> None:
    extractor = Extractor(str(root))
    with pytest.raises(Corrupt):
        extractor.begin(Member(name, kind))
    extractor.close()


@pytest.mark.parametrize("member", [file("taken", b"new"), file("taken/below", b"new"), directory("taken")])
def test_a_file_that_exists_is_not_touched(root: Path, member: Content) -> None:
    (root / "taken").write_bytes(b"old")
    with pytest.raises(DestinationRefused, match="in the way"):
        lay(Extractor(str(root)), [member])
    assert found(root) == {b"taken": b"old"}


def test_the_same_file_twice_in_an_archive_is_refused(root: Path) -> None:
    with pytest.raises(DestinationRefused, match="in the way"):
        lay(Extractor(str(root)), [file("a", b"1"), file("a", b"2")])


def test_held_back_content_does_not_replace_a_file_that_exists(root: Path) -> None:
    (root / "pg_control").write_bytes(b"old")
    with pytest.raises(DestinationRefused, match="in the way"):
        lay(Extractor(str(root), hold={"pg_control"}), [file("pg_control", b"new")])
    assert (root / "pg_control").read_bytes() == b"old"


@pytest.mark.parametrize(
    "member", [file("link/x", b"new"), directory("link/d"), file("link", b"new"), directory("link")]
)
def test_a_symbolic_link_in_the_destination_is_not_followed(
    root: Path, tmp_path: Path, member: Content
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(DestinationRefused, match="in the way"):
        lay(Extractor(str(root)), [member])
    assert list(outside.iterdir()) == []


def test_a_destination_that_does_not_exist_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not open directory"):
        Extractor(str(tmp_path / "missing"))


def test_a_full_disk_is_a_storage_error_that_names_the_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match=r"base/1.*No space left"):
        lay(Extractor(str(root)), [file("base/1", b"x")])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_everything_that_is_made_belongs_to_the_owner(root: Path) -> None:
    members = [directory("d"), file("d/f", b"x"), file("e/f", b"y"), file("pg_control", b"z")]
    lay(Extractor(str(root), owner=(12, 34), hold={"pg_control"}), members)
    for path in ("d", "d/f", "e", "e/f", "pg_control"):
        status = (root / path).stat()
        assert (status.st_uid, status.st_gid) == (12, 34)


def separate(paths: dict[str, bytes]) -> bool:
    """Whether none of the paths is also a directory of another."""
    return not any(other.startswith(path + "/") for path in paths for other in paths)


@given(st.dictionaries(names, st.binary(max_size=1100), max_size=5).filter(separate))
def test_what_was_archived_comes_out_again(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("root")
    lay(Extractor(str(root)), [file(name, data) for name, data in content.items()])
    assert found(root) == {name.encode("utf-8", "surrogateescape"): data for name, data in content.items()}
