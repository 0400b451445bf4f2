import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.repositories import SIZE, ZSTD, new_repository

from catalog import layout
from catalog.lsn import SegmentSize
from catalog.repository import Repository
from catalog.usage import Usage, WalUsage, wal_usage
from catalog.walname import Segment

LATER = 4e9
CACHE = "wal-sizes.json"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = new_repository(tmp_path / "main")
    os.mkdir(tmp_path / "main" / layout.STATE)
    return made


def put(repository: Repository, timeline: int, number: int, nbytes: int = 10, behind: str = "") -> str:
    name = Segment(timeline, number).name(SIZE)
    repository.storage.put(layout.wal_key(name + behind, ZSTD.suffix), bytes(nbytes))
    return name


def usage_of(repository: Repository, now: float = 0.0) -> WalUsage:
    return wal_usage(repository.storage, os.path.join(repository.root, layout.STATE), now)


def test_a_span_includes_both_ends_and_what_is_behind_excludes_the_first(repository: Repository) -> None:
    names = [put(repository, 1, number, 10 + number) for number in range(5)]
    usage = usage_of(repository)
    assert usage.span(names[1], names[3]) == Usage(3, 11 + 12 + 13)
    assert usage.between(names[1], names[3]) == Usage(2, 12 + 13)
    assert usage.between(names[3], None) == Usage(1, 14)


def test_later_timelines_are_behind_earlier_ones(repository: Repository) -> None:
    first, second = put(repository, 1, 9), put(repository, 2, 8, 7)
    assert usage_of(repository).between(first, None) == Usage(1, 7)
    assert usage_of(repository).between(second, first) == Usage()


def test_partial_segments_count_and_labels_and_temporary_files_do_not(repository: Repository) -> None:
    name = put(repository, 1, 1)
    put(repository, 1, 2, behind=".partial")
    directory = repository.storage.path(layout.wal_directory(name))
    for other in (f"{name}.00000028.backup", f"{name}.zst.walstream-tmp.1-00"):
        Path(directory, other).write_bytes(b"not counted")
    assert usage_of(repository).between("0" * 24, None) == Usage(2, 20)


def test_histories_are_no_directories(repository: Repository) -> None:
    first, second = put(repository, 1, 9), put(repository, 2, 9, 7)
    repository.storage.put(
        layout.wal_key("00000002.history"), b"1\t0/9000028\tno recovery target specified\n"
    )
    assert usage_of(repository).between(first, None) == Usage(1, 7)
    assert usage_of(repository).between(first, second) == Usage(1, 7)


def test_the_newest_segment_is_the_last_complete_one_in_between(repository: Repository) -> None:
    names = [put(repository, 1, number) for number in (1, 2, 5000)]
    put(repository, 1, 5001, behind=".partial")
    usage = usage_of(repository)
    assert usage.newest(names[0], None) == names[2]
    assert usage.newest(names[0], names[1]) == names[1]
    assert usage.newest(names[2], None) is None


@given(st.sets(st.tuples(st.integers(1, 3), st.integers(0, 9000)), max_size=40), st.data())
def test_totals_by_directory_and_sums_of_files_agree(
    found: set[tuple[int, int]], data: st.DataObject
) -> None:
    size = SegmentSize(1 << 24)
    sizes = {Segment(*each).name(size): sum(each) for each in found}
    totals: dict[str, Usage] = {}
    for name, nbytes in sizes.items():
        totals[name[:16]] = totals.get(name[:16], Usage()) + Usage(1, nbytes)
    usage = WalUsage(_Shelf(sizes), totals)  # type: ignore[arg-type]  # only ``sizes`` is asked for
    after, up_to = (Segment(data.draw(st.integers(1, 3)), data.draw(st.integers(0, 9000))) for _ in range(2))
    within = [sizes[name] for name in sizes if after.name(size) < name <= up_to.name(size)]
    assert usage.between(after.name(size), up_to.name(size)) == Usage(len(within), sum(within))


class _Shelf:
    """A shelf that lists given files."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = sizes

    def sizes(self, directory: str) -> list[tuple[str, int]]:
        return [(name, nbytes) for name, nbytes in self._sizes.items() if name.startswith(directory)]


def test_totals_are_remembered_by_directory_until_it_changes(repository: Repository) -> None:
    put(repository, 1, 1)
    assert usage_of(repository, LATER).between("0" * 24, None).files == 1
    assert Path(repository.root, layout.STATE, CACHE).exists()
    put(repository, 1, 2)
    assert usage_of(repository, LATER).between("0" * 24, None).files == 2


def test_what_has_just_changed_is_not_remembered(repository: Repository) -> None:
    name = put(repository, 1, 1)
    changed = os.stat(repository.storage.path(layout.wal_directory(name))).st_mtime
    usage_of(repository, changed + 1)
    assert not Path(repository.root, layout.STATE, CACHE).exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"format": 2}', '{"format": 1, "directories": {"x": 1}}']
)
def test_a_cache_that_cannot_be_read_is_made_anew(repository: Repository, content: str) -> None:
    put(repository, 1, 1)
    cache = Path(repository.root, layout.STATE, CACHE)
    cache.write_text(content)
    assert usage_of(repository, LATER).between("0" * 24, None) == Usage(1, 10)
    assert stat.S_IMODE(cache.stat().st_mode) & 0o007 == 0


def test_no_place_for_the_cache_is_no_error(repository: Repository) -> None:
    put(repository, 1, 1)
    os.rmdir(os.path.join(repository.root, layout.STATE))
    assert usage_of(repository, LATER).between("0" * 24, None) == Usage(1, 10)
    assert not os.path.exists(os.path.join(repository.root, layout.STATE))
