import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faults import fail

from backup.tree import Tree, sync_tree
from catalog.errors import Corrupt, Interrupted, StorageError
from walstream.cli.signals import raising


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    (tmp_path / "root").mkdir()
    tree = Tree(str(tmp_path / "root"))
    yield tree
    tree.close()


def content(tree: Tree) -> list[str]:
    root = Path(tree.root)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_missing_directories_on_the_way_to_a_file_are_made_private(tree: Tree) -> None:
    os.close(tree.create("a/b/c", 0o640))
    assert content(tree) == ["a", "a/b", "a/b/c"]
    assert os.stat(f"{tree.root}/a/b").st_mode & 0o7777 == 0o700
    assert os.stat(f"{tree.root}/a/b/c").st_mode & 0o7777 == 0o640


def test_a_file_that_exists_is_not_opened(tree: Tree) -> None:
    os.close(tree.create("a", 0o600))
    with pytest.raises(FileExistsError):
        tree.create("a", 0o600)


def test_a_directory_that_exists_only_changes_its_mode(tree: Tree) -> None:
    os.close(tree.create("a/file", 0o600))
    tree.make_directory("a", 0o750)
    assert os.stat(f"{tree.root}/a").st_mode & 0o7777 == 0o750
    assert content(tree) == ["a", "a/file"]


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", "a/./b", "a\0b"])
def test_a_name_that_leads_outside_is_corrupt(tree: Tree, name: str) -> None:
    with pytest.raises(Corrupt):
        tree.create(name, 0o600)
    assert content(tree) == []


@pytest.mark.parametrize("name", ["link", "link/file", "link/sub/file"])
def test_a_symbolic_link_in_the_way_is_never_followed(tree: Tree, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(outside, f"{tree.root}/link")
    for make in (lambda: tree.create(name, 0o600), lambda: tree.make_directory(name, 0o700)):
        with pytest.raises(OSError):
            make()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_file_takes_its_place_unless_something_is_there(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        fail(monkeypatch, "link", errno.EPERM)
    os.close(tree.create("global/temporary", 0o600))
    tree.put_in_place("global/temporary", "global/pg_control")
    assert content(tree) == ["global", "global/pg_control"]
    os.close(tree.create("global/temporary", 0o600))
    with pytest.raises(FileExistsError):
        tree.put_in_place("global/temporary", "global/pg_control")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    tree = Tree(str(tmp_path))
    for name in ("a/b/c/d", "a/x", "e", "f/g"):
        os.close(tree.create(name, 0o600))
    with pytest.raises(OSError):
        tree.create("a/b/c/d/e", 0o600)
    tree.close()
    tree.close()
    assert not before or os.listdir("/proc/self/fd") == before


def test_sync_covers_every_file_and_directory_but_follows_no_link(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.close(tree.create("a/b/file", 0o600))
    os.symlink(tmp_path, f"{tree.root}/a/link")
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    sync_tree(tree.root)
    assert sorted(synced) == [f"{tree.root}{path}" for path in ("", "/a", "/a/b", "/a/b/file")]


def test_a_thousand_files_are_all_synced_once(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1000):
        os.close(tree.create(f"{number % 7}/{number}", 0o600))
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    sync_tree(tree.root)
    assert len(synced) == len(set(synced)) == 1000 + 7 + 1


def test_behind_a_failing_sync_the_rest_is_not_waited_for(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1000):
        os.close(tree.create(str(number), 0o600))
    tried: list[int] = []

    def fail(fd: int) -> None:
        tried.append(fd)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="could not sync"):
        sync_tree(tree.root)
    assert len(tried) <= 16


def test_a_signal_ends_it_before_all_is_synced(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1000):
        os.close(tree.create(str(number), 0o600))
    synced: list[int] = []

    def slow(fd: int) -> None:
        synced.append(fd)
        if len(synced) == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

    monkeypatch.setattr(os, "fsync", slow)
    with pytest.raises(Interrupted), raising():
        sync_tree(tree.root)
    assert len(synced) < 500


def test_a_failing_sync_is_a_storage_error(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="could not sync"):
        sync_tree(tree.root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may give files away")
def test_an_owner_who_cannot_be_given_anything_is_an_error(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path), owner=(0, 0))
    with pytest.raises(OSError):
        tree.create("a", 0o600)
    tree.close()
