"""Chains of stored backups laid down: what is refused, what is needed, and what a killed restore leaves."""

import json
import os
from dataclasses import replace
from datetime import timedelta

import pytest
from support.incremental import incremental_file
from support.members import directory, file
from support.repositories import new_repository, store_backup

from backup.chain import needed_at_once, needed_by_archive
from backup.destination import MARK, PG_CONTROL
from backup.label import BackupLabel, format_label
from backup.restore import restore
from backup.restore_options import RestoreOptions
from catalog.errors import Corrupt
from catalog.lsn import LSN
from catalog.record import Tablespace
from catalog.recovery import RecoveryPlan
from catalog.target import LATEST, RecoveryTarget
from catalog.timeline import History, Path

BLOCK = 8192
ONE = "base/5/INCREMENTAL.1"


@pytest.fixture
def repository(tmp_path):
    return new_repository(tmp_path / "repository")


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "dest"


@pytest.fixture
def store(repository):
    """``store(*members, parent=None)``: one backup of a chain, a minute's segment behind the one before."""
    stored = []

    def make(*members, parent=None, label=None, **fields):
        number = len(stored) * 2 + 2
        start = LSN((number << 20) + 0x28)
        begins = {} if parent is None else {
            "incremental_from": parent.begin.lsn, "incremental_timeline": parent.begin.timeline
        }  # fmt: skip
        text = BackupLabel(start, f"00000001000000000000000{number}", start, 1, **begins)
        main = [
            file("backup_label", format_label(label or text)),
            *(directory(name) for name in ("base", "base/5", "global", "pg_wal")),
            *members,
            file(PG_CONTROL, b"control %d" % number),
        ]
        kind = {"type": "incremental", "parent": parent.id} if parent is not None else {}
        record = store_backup(
            repository,
            after=timedelta(minutes=number),
            first=number,
            last=number,
            main=main,
            **kind,
            **fields,
        )
        stored.append(record)
        return record

    return make


@pytest.fixture
def restored(repository, dest):
    def make(*chain, **options):
        *parents, last = chain
        target, path = RecoveryTarget(LATEST), Path.of(History(1, ()))
        plan = RecoveryPlan(
            last, target, path, last.first_segment, last.last_segment, (), parents=tuple(parents)
        )
        return restore(
            plan, repository, RestoreOptions(str(dest), repository.root, "/usr/bin/python3", **options)
        )

    return make


def listed(dest):
    return {each["Path"]: each for each in json.loads((dest / "backup_manifest").read_text())["Files"]}


def test_the_manifest_lists_what_was_laid_down(store, restored, dest):
    full = store(file("base/5/1", b"a" * 3 * BLOCK), file("base/5/2", b"gone"))
    changed = store(file(ONE, incremental_file({1: b"b" * BLOCK}, 2)), parent=full)
    restored(full, changed)
    entries = listed(dest)
    assert (dest / "base/5/1").read_bytes() == b"a" * BLOCK + b"b" * BLOCK
    assert entries["base/5/1"]["Size"] == 2 * BLOCK
    assert "base/5/2" not in entries and ONE not in entries
    files = {str(path.relative_to(dest)) for path in dest.rglob("*") if path.is_file()}
    ours = {"postgresql.auto.conf", "recovery.signal", "backup_manifest"}
    assert files - ours == set(entries) and MARK not in os.listdir(dest)
    assert b"INCREMENTAL" not in (dest / "backup_label").read_bytes()
    assert (dest / PG_CONTROL).read_bytes() == b"control 4"


def test_only_tablespaces_of_the_last_backup_are_laid_down(store, restored, dest, tmp_path):
    def space(oid):
        return Tablespace(oid, f"space{oid}", str(tmp_path / f"space{oid}"))

    kept = [directory("PG_18_1"), file("PG_18_1/5/1", b"x" * BLOCK), file("PG_18_1/5/2", b"x")]
    full = store(
        file("tablespace_map", b"16385 /old\n16386 /other\n"),
        spaces={16385: kept, 16386: kept},
        tablespaces=(space(16385), space(16386)),
    )
    changes = [directory("PG_18_1"), file("PG_18_1/5/INCREMENTAL.1", incremental_file({0: b"y" * BLOCK}, 1))]
    last = store(
        file("tablespace_map", b"16385 /old\n"),
        parent=full,
        spaces={16385: changes},
        tablespaces=(space(16385),),
    )
    restored(full, last)
    assert (tmp_path / "space16385/PG_18_1/5/1").read_bytes() == b"y" * BLOCK
    assert not (tmp_path / "space16385/PG_18_1/5/2").exists()
    assert not (tmp_path / "space16386").exists()
    assert "pg_tblspc/16385/PG_18_1/5/1" in listed(dest)


@pytest.mark.parametrize("where", ["/srv/old/spaces/near", "pg_tblspc/16385"])
def test_a_tablespace_inside_the_data_directory_is_laid_over_there(store, restored, dest, where):
    space = {"tablespaces": (Tablespace(16385, "near", where),), "data_directory": "/srv/old"}
    members = [directory("pg_tblspc"), file("tablespace_map", b"16385 /old\n")]
    kept = [directory("PG_18_1"), file("PG_18_1/5/1", b"x" * BLOCK), file("PG_18_1/5/2", b"x")]
    full = store(*members, spaces={16385: kept}, **space)
    changes = [directory("PG_18_1"), file("PG_18_1/5/INCREMENTAL.1", incremental_file({0: b"y" * BLOCK}, 1))]
    last = store(*members, parent=full, spaces={16385: changes}, **space)
    restored(full, last)
    place = dest / os.path.relpath(where, "/srv/old") if where[0] == "/" else dest / where
    assert (place / "PG_18_1/5/1").read_bytes() == b"y" * BLOCK
    assert sorted(os.listdir(place / "PG_18_1/5")) == ["1"]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([file(ONE, incremental_file({0xFFFFFFFF: b"x"}, 1))], "lists block 4294967295"),
        ([file(ONE, b"\xff" * 12)], "begins with"),
        ([file("base/5/INCREMENTAL.9", incremental_file({0: b"x"}, 1))], "the backups before it lack"),
        ([file("global/INCREMENTAL.", incremental_file({}, 1))], "lead out"),
    ],
)
def test_a_hostile_incremental_backup_is_refused_and_nothing_can_start(
    store, restored, dest, tmp_path, members, says
):
    full = store(file("base/5/1", b"a" * BLOCK))
    last = store(*members, parent=full)
    with pytest.raises(Corrupt, match=says):
        restored(full, last)
    assert (dest / MARK).exists() and not (dest / PG_CONTROL).exists()
    assert sorted(os.listdir(tmp_path)) == ["dest", "repository"]
    assert (dest / "base/5/1").read_bytes() == b"a" * BLOCK


def test_changes_in_a_full_backup_are_corrupt(store, restored):
    full = store(file("base/5/1", b"a" * BLOCK), file(ONE, incremental_file({0: b"x"}, 1)))
    odd = store(file("base/5/INCREMENTAL.2", incremental_file({0: b"x"}, 1)))
    with pytest.raises(Corrupt, match="the backups before it lack"):
        restored(odd, store(parent=odd))
    assert full.parent is None


def test_a_backup_that_was_taken_upon_another_one_is_refused(store, restored):
    full, other = store(), store()
    last = store(parent=full)
    with pytest.raises(Corrupt, match=f"was not taken upon {other.id}"):
        restored(other, last)


def test_a_chain_that_was_broken_off_can_be_laid_down_again(store, restored, repository, dest):
    full = store(file("base/5/1", b"a" * BLOCK))
    bad = store(file(ONE, b"\xff" * 12), parent=full)
    with pytest.raises(Corrupt):
        restored(full, bad)
    good = store(file(ONE, incremental_file({0: b"b" * BLOCK}, 1)), parent=full)
    restored(full, good)
    assert (dest / "base/5/1").read_bytes() == b"b" * BLOCK


def test_a_file_of_a_parent_that_is_too_short_is_refused_before_anything_is_written(
    store, restored, dest, repository
):
    full = store(file("base/5/1", b"a" * BLOCK))
    last = store(parent=full)
    os.truncate(os.path.join(repository.root, "base", full.id, full.archives[0].file), 10)
    with pytest.raises(
        Corrupt, match=f"of backup {full.id} has 10 bytes.*nothing was written|{full.id} has 10"
    ):
        restored(full, last)
    assert not dest.exists()


def test_room_is_needed_for_the_largest_moment_and_not_for_the_sum(store):
    full = store(file("base/5/1", b"a" * 100 * BLOCK))
    first = replace(store(file("base/5/1", b"a" * 10 * BLOCK), parent=full), cluster_size=12 * BLOCK)
    second = store(file("base/5/1", b"a" * 9 * BLOCK), parent=first)
    raw = [each.archives[0].raw_size for each in (full, first, second)]
    chain = (full, first, second)
    assert needed_by_archive(chain) == {None: sum(raw)}
    assert needed_at_once(chain) == full.cluster_size + raw[1] < sum(raw)
    assert needed_at_once((full,)) == raw[0]
