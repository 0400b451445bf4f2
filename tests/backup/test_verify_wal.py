"""The archive walked: every kind of damage is found and named, and what was good once is not read again."""

import os
from pathlib import Path

import pytest
from support.filed_wal import name, new_repository, store
from support.values import MB
from support.wal_pages import SYSTEM_IDENTIFIER
from support.wal_records import WalWriter

from backup.verified_wal import VerifiedWal
from backup.verify_wal import MOST, Bounds, verify_wal
from backup.wal_listing import misplaced, strange_histories
from catalog.errors import Interrupted
from catalog.lsn import LSN
from catalog.repository import stored_holdings
from catalog.timeline import History, Switch


@pytest.fixture
def repository(tmp_path):
    found = new_repository(tmp_path / "main")
    Path(found.root, "state").mkdir()
    return found


def made(first=3, identifier=SYSTEM_IDENTIFIER, most=3000, version=15):
    """Six segments and a switch, with a record over each border."""
    wal = WalWriter(MB, first, system_identifier=identifier, version=version)
    wal.fill((6 << 20) - 100_000, most=most)
    wal.switch()
    return wal


def stored(repository, wal=None, codec="none"):
    segments = (wal or made()).segments
    store(repository, {name(number): data for number, data in segments.items()}, codec)
    return segments


def walk(repository, bounds=None, on_progress=lambda done, total: None, full=False, home=None):
    known = VerifiedWal(home or repository.root, fresh=full)
    return verify_wal(repository, stored_holdings(repository), known, bounds, on_progress)


def file_of(repository, number, timeline=1):
    return Path(repository.storage.path(repository.wal.key(name(number, timeline))))


def change(path, at, xor=0xFF):
    data = bytearray(path.read_bytes())
    data[at] ^= xor
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("codec", ["none", "zstd", "lz4", "gzip"])
def test_a_good_archive_has_no_problem_and_is_read_once(repository, codec):
    stored(repository, codec=codec)
    first = walk(repository)
    assert (first.segments, first.skipped, first.count, first.nbytes) == (6, 0, 0, 6 << 20)
    second = walk(repository)
    assert (second.segments, second.skipped, second.count, second.nbytes) == (0, 6, 0, 0)
    third = walk(repository, full=True)
    assert (third.segments, third.skipped, third.count) == (6, 0, 0)
    assert walk(repository).skipped == 6


def test_what_is_kept_may_be_deleted_or_damaged(repository):
    stored(repository)
    walk(repository)
    for file in Path(repository.root, "state", "verified").iterdir():
        for text in ("", "{}", '{"format": 1, "segments": []}', file.read_text().replace("[", "{")):
            file.write_text(text)
            assert (walk(repository).segments) == 6
        good = file.read_text()
        for wrong in ("1", "[1, 2]", '["x", null, 5]'):
            head, _, _ = good.partition('"segments":{')
            file.write_text(f'{head}"segments":{{"{name(3)}":{wrong}}}}}')
            assert walk(repository).segments == 6
        file.unlink()
    assert walk(repository).segments == 6


@pytest.mark.parametrize("codec", ["zstd", "lz4", "gzip"])
def test_damage_of_stored_bytes_is_found_in_every_codec(repository, codec):
    stored(repository, codec=codec)
    path = file_of(repository, 5)
    change(path, path.stat().st_size // 2)
    (problem,) = walk(repository).problems
    assert problem.file == path.name
    assert problem.position is not None and LSN(5 << 20) <= problem.position <= LSN(6 << 20)


def test_one_damaged_segment_is_one_problem_and_the_rest_is_judged(repository):
    stored(repository)
    change(file_of(repository, 4), 500_000)
    change(file_of(repository, 7), 300_000)
    report = walk(repository)
    assert [each.file for each in report.problems] == [name(4), name(7)]
    assert "has a wrong checksum" in report.problems[0].message
    assert 496_000 < report.problems[0].offset <= 500_000
    assert report.problems[0].position == LSN((4 << 20) + report.problems[0].offset)
    again = walk(repository)
    # Behind a fault there is nothing to chain to, and what was found good then is good.
    assert (again.count, again.segments, again.skipped) == (2, 2, 4)


def test_a_damaged_record_over_a_border_names_both_files(repository):
    stored(repository)
    change(file_of(repository, 5), 60)
    (problem,) = walk(repository).problems
    assert problem.file == name(5)
    assert f"it begins in {name(4)}, either file may be damaged" in problem.message
    assert problem.position < LSN(5 << 20)


@pytest.mark.parametrize("length", [0, 39, 8192, 700_001, (1 << 20) - 1, (1 << 20) + 1])
def test_a_file_of_another_length_is_found(repository, length):
    segments = stored(repository)
    file_of(repository, 5).write_bytes((segments[5] + b"x")[:length])
    (problem,) = walk(repository).problems
    assert problem.file == name(5)
    assert "bytes" in problem.message


def test_exchanged_segments_are_found(repository):
    stored(repository)
    a, b = file_of(repository, 4), file_of(repository, 6)
    one, other = a.read_bytes(), b.read_bytes()
    a.write_bytes(other)
    b.write_bytes(one)
    report = walk(repository)
    assert [(each.file, each.offset) for each in report.problems] == [(name(4), 0), (name(6), 0)]
    assert "says that it is the one of 0/600000" in report.problems[0].message


def test_a_segment_of_another_cluster_is_found(repository):
    stored(repository)
    file_of(repository, 5).write_bytes(made(identifier=42).segments[5])
    (problem,) = walk(repository).problems
    assert problem.file == name(5)
    assert "system identifier 42" in problem.message


def test_a_segment_of_another_history_of_the_same_cluster_is_found(repository):
    """Good in itself, it does not follow: the chain over the borders tells."""
    stored(repository)
    file_of(repository, 5).write_bytes(made(most=2500).segments[5])
    report = walk(repository)
    assert [each.file for each in report.problems] == [name(5)]
    file_of(repository, 5).write_bytes(made(version=16).segments[5])
    assert [each.file for each in walk(repository).problems] == [name(5), name(6)][: walk(repository).count]


def test_a_segment_that_was_replaced_makes_the_next_one_be_read_again_if_it_ends_otherwise(repository):
    segments = stored(repository)
    walk(repository)
    path = file_of(repository, 4)
    path.write_bytes(segments[4])
    again = walk(repository)
    assert (again.segments, again.skipped, again.count) == (1, 5, 0)
    path.write_bytes(made(most=2500).segments[4])
    assert [each.file for each in walk(repository).problems] == [name(4)]


def branch(repository):
    """Timeline 2 leaves timeline 1 in segment 5; both are stored, and what timeline 1 went on with as partial."""
    wal = WalWriter(MB, 3)
    wal.fill((2 << 20) + 300_000)
    new = wal.copy(timeline=2)
    switch = new.position
    wal.fill(100_000)
    new.add(0, 0x90, main=b"12345678")
    new.fill(1_500_000)
    new.switch()
    files = {name(number): wal.segments[number] for number in (3, 4)}
    files[f"{name(5)}.partial"] = wal.segments[5]
    files |= {name(number, 2): data for number, data in new.segments.items() if number >= 5}
    files["00000002.history"] = History(2, (Switch(1, switch, "no reason"),)).format()
    store(repository, files, "zstd")
    return wal, switch


def test_a_branch_is_chained_to_what_it_left_and_a_partial_segment_ends_with_its_records(repository):
    wal, _ = branch(repository)
    report = walk(repository)
    assert (report.count, report.problems) == (0, [])
    (partial,) = report.partials
    assert (partial.file, partial.end) == (f"{name(5)}.partial.zst", wal.position)
    again = walk(repository)
    assert (again.segments, again.skipped, again.partials) == (0, 4, report.partials)


def test_another_position_in_the_history_is_found(repository):
    _, switch = branch(repository)
    assert walk(repository).count == 0
    path = Path(repository.storage.path("wals/00000002.history"))
    path.write_bytes(History(2, (Switch(1, switch + 4096, ""),)).format())
    (problem,) = walk(repository).problems
    assert problem.file.startswith(name(5, 2))
    assert "as its history says" in problem.message or "says timeline" in problem.message


def test_histories_that_contradict_each_other_or_are_missing_are_found(repository):
    _, switch = branch(repository)
    store(
        repository,
        {"00000003.history": History(3, (Switch(1, switch + 8), Switch(2, LSN(7 << 20)))).format()},
    )
    assert [(each.file, each.message) for each in strange_histories(stored_holdings(repository))] == [
        ("00000003.history", "it contradicts 00000002.history: one of them is wrong")
    ]
    for each in ("00000002.history", "00000003.history"):
        os.unlink(repository.storage.path(f"wals/{each}"))
    (problem,) = strange_histories(stored_holdings(repository))
    assert (problem.file, problem.message) == (
        "00000002.history",
        "it is missing, and there is WAL of timeline 2",
    )


def test_files_that_no_recovery_finds_are_named(repository):
    stored(repository)
    wals = Path(repository.storage.path("wals"))
    directory = name(3)[:16]
    assert list(misplaced(repository)) == []
    (wals / directory / "notes.txt").write_text("x")
    (wals / directory / f"{name(3)}.zst").write_bytes(b"x")
    (wals / directory / f"{directory}FFFFFFFF").write_bytes(b"x")
    (wals / name(3)).write_bytes(b"x")
    found = {each.file: each.message for each in misplaced(repository)}
    assert found == {
        f"{directory}/notes.txt": "this is no WAL file's name",
        f"{name(3)}.zst": "it is stored twice, under two suffixes",
        f"{directory}/{directory}FFFFFFFF": "it is the name of a segment of another size",
        name(3): f"it belongs into 'wals/{directory}', and is not found here",
    }


def test_only_what_is_within_bounds_is_read(repository):
    stored(repository)
    assert walk(repository, Bounds(5, 6)).segments == 2
    assert walk(repository, Bounds(6)).skipped == 1
    assert walk(repository, Bounds(100)).segments == 0
    report = walk(repository, Bounds(None, 4))
    assert (report.segments, report.skipped) == (2, 0)
    # Segment 5 was judged by itself before, and is now held against what it follows.
    rest = walk(repository)
    assert (rest.segments, rest.skipped, rest.count) == (1, 5, 0)


def test_an_interrupted_walk_goes_on_where_it_was(repository):
    stored(repository)

    def interrupt(done, total):
        if done > 3 << 20:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        walk(repository, on_progress=interrupt)
    report = walk(repository)
    assert (report.segments, report.skipped, report.count) == (3, 3, 0)


def test_progress_counts_what_is_to_be_read(repository):
    stored(repository)
    walk(repository, Bounds(None, 4))
    told = []
    walk(repository, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (4 << 20, 4 << 20)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_segment_that_goes_while_it_is_walked_is_no_problem(repository):
    stored(repository)
    holdings = stored_holdings(repository)
    os.unlink(file_of(repository, 3))
    report = verify_wal(repository, holdings, VerifiedWal(None))
    assert (report.segments, report.count) == (5, 0)


def test_many_problems_are_counted_and_the_first_of_them_kept(repository):
    directory = Path(repository.storage.path("wals"), f"{1:08X}{0:08X}")
    directory.mkdir()
    for number in range(MOST + 5):
        (directory / name(number)).write_bytes(b"")
    report = walk(repository)
    assert (report.count, len(report.problems)) == (MOST + 5, MOST)


def test_without_a_place_for_it_nothing_is_kept(repository, tmp_path):
    stored(repository)
    for _ in range(2):
        assert walk(repository, home=str(tmp_path / "nowhere")).segments == 6
    assert not (tmp_path / "nowhere").exists()


def test_what_was_verified_is_forgotten_with_its_directory(repository):
    stored(repository)
    walk(repository)
    (kept,) = Path(repository.root, "state", "verified").iterdir()
    other = kept.with_name(f"{name(3)[:8]}000000FF.json")
    other.write_text("{}")
    VerifiedWal(repository.root).forget_others(repository.wal.directories())
    assert (kept.exists(), other.exists()) == (True, False)
    assert walk(repository).skipped == 6
