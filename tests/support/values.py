"""Strategies for the values of ``catalog``, and a record and a history with everything filled in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from catalog.lsn import LSN, SegmentSize
from catalog.record import Archive, BackupRecord, Compression, Encryption, Point, Tablespace
from catalog.timeline import History, Switch
from catalog.walname import Segment

MB = SegmentSize(1 << 20)
START = datetime(2026, 1, 31, 12, tzinfo=UTC)

lsns = st.integers(0, (1 << 64) - 1).map(LSN)
sizes = st.integers(20, 30).map(lambda bits: SegmentSize(1 << bits))
timelines = st.integers(1, (1 << 32) - 1)
reasons = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 70) | st.text(),
    lambda inner: st.lists(inner),
    max_leaves=5,
)
extras = st.dictionaries(st.text().map(lambda key: f"x-{key}"), json_values, max_size=2)


@st.composite
def histories(draw: st.DrawFn) -> History:
    *ancestors, timeline = sorted(draw(st.sets(timelines, min_size=1, max_size=6)))
    return History(timeline, tuple(Switch(each, draw(lsns), draw(reasons)) for each in ancestors))


@st.composite
def segments(draw: st.DrawFn, size: SegmentSize) -> Segment:
    return Segment(draw(timelines), draw(st.integers(0, (1 << 64) // size.nbytes - 1)))


def history(timeline: int, *switches: tuple[int, int]) -> History:
    """A history whose switches are given as timeline and position in numbers of 1 MB, fractions allowed."""
    return History(timeline, tuple(Switch(each, at(position)) for each, position in switches))


def at(megabytes: float) -> LSN:
    """The position of so many MB, so that its whole part is the number of a segment of 1 MB."""
    return LSN(int(megabytes * MB.nbytes))


def segment_names(timeline: int, numbers: Iterable[int]) -> list[str]:
    """The names of segments of 1 MB."""
    return [Segment(timeline, number).name(MB) for number in numbers]


def record(
    begin: float = 2.25,
    end: float = 3.5,
    timeline: int = 1,
    end_timeline: int | None = None,
    **changes: object,
) -> BackupRecord:
    """A backup of a cluster with segments of 1 MB; it began ``begin`` minutes after START, and so on."""
    fields: dict[str, object] = {
        "walstream": "0.1.0",
        "id": f"20260131T12{int(begin):02}00",
        "name": None,
        "server": "main",
        "type": "full",
        "parent": None,
        "system_identifier": 7711084784289903658,
        "server_version": 150018,
        "block_size": 8192,
        "wal_segment_size": MB,
        "data_checksums": True,
        "summarize_wal": None,
        "data_directory": "/srv/pg",
        "from_standby": False,
        "label": "walstream",
        "begin": Point(at(begin), timeline, START + timedelta(minutes=begin)),
        "end": Point(at(end), end_timeline or timeline, START + timedelta(minutes=end)),
        "copy_seconds": 1.5,
        "cluster_size": 1 << 41,
        "compression": Compression("zstd", 1),
        "encryption": Encryption("none"),
        "checksum_errors": 0,
        "tablespaces": (Tablespace(16385, "fast", "/mnt/fast"),),
        "archives": (Archive("base.tar.zst", None, 10240, 512, "ab" * 32),),
        "manifest": Archive("backup_manifest.zst", None, 100, 50, "cd" * 32),
    }
    return BackupRecord(**{**fields, **changes})  # type: ignore[arg-type]  # the keys are the fields
