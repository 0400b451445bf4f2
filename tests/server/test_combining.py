"""Random chains, made without a server's help, laid down by us and combined by PostgreSQL's own tool."""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clusters import pg_tool
from support.combining import assert_same_files
from support.incremental import incremental_file
from support.members import archive, directory, file
from support.repositories import manifest_of

from backup.label import BackupLabel, as_full, format_label
from backup.overlay import Overlay, prune
from backup.tar import TarParser
from catalog.lsn import LSN

BLOCK = 8192
NAMES = ("16384", "16384.1", "16385_vm", "2619")
DIRECTORIES = tuple(directory(name) for name in ("base", "base/5", "base/6", "global", "pg_tblspc", "pg_wal"))

blocks = st.lists(st.integers(1, 255), max_size=5)
changes = st.dictionaries(st.integers(0, 7), st.integers(1, 255), max_size=4)
# What becomes of each file from one backup to the next.
fates = st.one_of(
    st.tuples(st.just("whole"), blocks),
    st.tuples(st.just("patched"), st.tuples(changes, st.integers(0, 8))),
    st.tuples(st.just("gone"), st.none()),
)
chapters = st.lists(
    st.dictionaries(
        st.sampled_from([f"{base}/{name}" for base in ("base/5", "base/6") for name in NAMES]), fates
    ),
    min_size=2,
    max_size=5,
)


@dataclass
class Relations:
    """How many blocks each file has after a backup, so that what comes next is what a server may send."""

    lengths: dict[str, int] = field(default_factory=dict)

    def members(self, chapter, is_last):
        """The files of the next backup: those without a fate have not changed."""
        made = []
        for path in sorted({*self.lengths, *chapter}):
            what, value = chapter.get(path, ("patched", ({}, self.lengths.get(path, 0))))
            if what == "gone" or (what == "patched" and path not in self.lengths):
                self.lengths.pop(path, None)
            elif what == "whole":
                self.lengths[path] = len(value)
                made.append(file(path, b"".join(bytes([each]) * BLOCK for each in value)))
            else:
                made.append(self._patched(path, *value, is_last))
        return made

    def _patched(self, path, changed, truncation, is_last):
        # A block that is new, or was cut off before, is always among the changed ones, because WAL wrote it. What
        # is missing behind the truncation length of the last backup is zeros on both sides.
        before = self.lengths[path]
        end = max(truncation, *(number + 1 for number in changed), 0)
        new = range(before, truncation) if is_last else range(min(before, truncation), end)
        changed = {
            number: bytes([value]) * BLOCK for number, value in (dict.fromkeys(new, 7) | changed).items()
        }
        self.lengths[path] = end
        folder, _, name = path.rpartition("/")
        return file(f"{folder}/INCREMENTAL.{name}", incremental_file(changed, truncation))


def write_directory(place, members):
    """The members as plain files, with the manifest that pg_combinebackup wants."""
    for member, data in members:
        path = place / member.name
        if member.kind.name == "DIRECTORY":
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def label_of(number):
    start = LSN((number + 2) << 24)
    begins = {"incremental_from": LSN((number + 1) << 24), "incremental_timeline": 1} if number else {}
    return BackupLabel(start, f"0000000100000000{number + 2:08X}", start, 1, **begins)


@pytest.mark.postgres(versions=[17, 18])
def test_a_random_chain_comes_out_as_pg_combinebackup_has_it(server, pg_version, tmp_path):
    tool = pg_tool(pg_version, "pg_combinebackup")
    assert tool is not None
    control = Path(server.directory, "global", "pg_control").read_bytes()
    system = server.one("SELECT system_identifier FROM pg_control_system()")
    fixed = [*DIRECTORIES, file("PG_VERSION", b"%d\n" % pg_version), file("global/pg_control", control)]

    @settings(max_examples=30)
    @given(chapters)
    def check(story):
        place = tmp_path / "chain"
        shutil.rmtree(place, ignore_errors=True)
        ours, relations, inputs = place / "ours", Relations(), []
        ours.mkdir(parents=True)
        for number, chapter in enumerate(story):
            label = format_label(label_of(number))
            members = [*fixed, *relations.members(chapter, number == len(story) - 1)]
            inputs.append(place / str(number))
            begin = label_of(number).start
            manifest = manifest_of(
                [(None, [file("backup_label", label), *members])], begin, begin + 100, system
            )
            write_directory(
                inputs[-1], [file("backup_label", label), *members, file("backup_manifest", manifest)]
            )
            lay(ours, [file("backup_label", as_full(label)), *members], number)
        done = subprocess.run(
            [tool, "--no-sync", "-o", str(place / "theirs"), *map(str, inputs)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert_same_files(ours, place / "theirs")

    check()


def lay(root, members, number):
    overlay = Overlay(str(root), block_size=BLOCK, mtime=1000.0 + number)
    try:
        parser = TarParser(overlay)
        parser.write(archive(members))
        parser.finish()
    finally:
        overlay.close()
    prune(str(root), 1000.0 + number, overlay.directories)
