"""What has become of a backup: done, waiting for WAL, suspect, failed or running. Pure.

Computed each time from the record, the marks, the inventory and the lock: nothing stored says it, so
nothing stored can contradict it.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.coverage import Holdings, restorable
from catalog.marks import FailedMark, StartedMark
from catalog.record import BackupRecord

DONE = "DONE"
WAITING_FOR_WALS = "WAITING_FOR_WALS"
SUSPECT = "SUSPECT"
FAILED = "FAILED"
STARTED = "STARTED"
MOST_SHOWN = 5  # files named in a message
FIND_RELATION = (
    "to find a file's relation: SELECT oid::regclass FROM pg_class WHERE pg_relation_filepath(oid) = 'FILE'"
)


@dataclass(frozen=True)
class Traces:
    """What a backup has left.

    ``running`` says whether the process that left ``started`` still holds the backup lock, ``unreadable``
    what is wrong with a document that is there but cannot be read.
    """

    id: str
    record: BackupRecord | None = None
    started: StartedMark | None = None
    failed: FailedMark | None = None
    running: bool = False
    unreadable: str | None = None


@dataclass(frozen=True)
class Status:
    """One of the five words; ``error`` and ``hint`` say why a backup failed."""

    word: str
    error: str | None = None
    hint: str | None = None


def bad_pages(record: BackupRecord) -> str:
    """What makes a backup suspect, for people: ``12 bad page checksums in base/5/1 (10), base/5/2 (2)``."""
    count = record.checksum_errors
    shown = [f"{each.file} ({each.pages})" for each in record.bad_files[:MOST_SHOWN]]
    left = len(record.bad_files) - len(shown)
    text = f"{count} bad page checksum{'s' if count != 1 else ''}"
    if shown:
        text += f" in {', '.join(shown)}" + (
            f" and {left} more file{'s' if left > 1 else ''}" if left else ""
        )
    return text


def status_of(traces: Traces, holdings: Holdings) -> Status:
    """The status of a backup; the record counts first, then the mark of a failure.

    DONE is a backup that the repository alone can restore; a suspect one may be waiting for WAL as well.
    """
    record, failed, started = traces.record, traces.failed, traces.started
    if record is not None:
        defect = holdings.defect(record)
        if defect is not None:
            hint = "put the files back from a copy of the repository, or take a new full backup"
            return Status(FAILED, defect, hint)
        if holdings.is_suspect(record):
            return Status(SUSPECT)
        return Status(DONE if restorable(record, holdings) else WAITING_FOR_WALS)
    if traces.unreadable is not None:
        return Status(FAILED, traces.unreadable, "its files were not touched: repair or delete it")
    if failed is not None:
        return Status(FAILED, failed.error, failed.hint)
    if started is None:
        return Status(FAILED, "it has no record: it was being removed, or lost its record.json", "delete it")
    if traces.running:
        return Status(STARTED)
    return Status(FAILED, "the backup was killed", "take it again")
