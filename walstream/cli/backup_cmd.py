"""``walstream backup``: take a base backup, of several servers side by side."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict

from backup.incoming import Progress
from catalog.backups import is_backup_id
from catalog.errors import UsageError, WalstreamError
from catalog.lookup import WORDS
from catalog.statuses import DONE, FIND_RELATION, SUSPECT, WAITING_FOR_WALS, bad_pages
from catalog.units import duration, size
from walstream.cli.backup_facts import bad_page_facts
from walstream.cli.context import Context
from walstream.cli.numbers import seconds
from walstream.cli.side_by_side import run_side_by_side
from walstream.cli.signals import raising
from walstream.cli.teller import Teller
from walstream.ops import wiring
from walstream.ops.backup import BackupOutcome, BackupRequest, take_backup
from walstream.ops.items import to_start
from walstream.settings.server import ServerSettings

EXAMPLE = "walstream backup main --immediate-checkpoint --name before-upgrade"

log = logging.getLogger("walstream.backup")

_OTHER_NAME = "choose another name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="S", nargs="+", help="servers of the configuration, or 'all'")
    parser.add_argument("--name", help="a name for the backup, beside its id, that no other has")
    parser.add_argument(
        "--incremental", metavar="ID",
        help="only what has changed since this backup: an id, a name, latest or latest-full (17 and later)",
    )  # fmt: skip
    parser.add_argument(
        "--wait", "-w", action=argparse.BooleanOptionalAction, default=True,
        help="wait until all WAL of the backup is stored (default: wait)",
    )  # fmt: skip
    parser.add_argument("--wait-timeout", metavar="SECONDS", type=seconds, help="but no longer than that")
    parser.add_argument(
        "--immediate-checkpoint", action=argparse.BooleanOptionalAction, default=None,
        help="begin with a fast checkpoint instead of a spread one",
    )  # fmt: skip
    parser.add_argument("--bwlimit", metavar="KBPS", type=int, help="limit the rate, in kB/s (32 to 1048576)")
    parser.add_argument("--retry-times", metavar="N", type=int, help="how often to try again after a failure")
    parser.add_argument("--retry-sleep", metavar="SECONDS", type=seconds, help="the pause before that")
    parser.add_argument(
        "--jobs", "-j", metavar="N", type=int, help="back up at most so many servers at a time (default: all)"
    )
    # How a backup of several servers calls this program for one of them, and run for one that is scheduled.
    parser.add_argument("--as-part", metavar="REQUEST", help=argparse.SUPPRESS)
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)


def run(context: Context, arguments: argparse.Namespace) -> int:
    if arguments.as_part is not None:
        return _run_as_part(context, arguments.servers[0], arguments.as_part)
    request = _request(arguments)
    names = context.server_names(arguments.servers)
    if arguments.supervised:
        context.start_logging(names[0])
    if len(names) == 1:
        return _run_alone(context, names[0], request)
    return _run_several(context, arguments, names, request)


def _run_alone(context: Context, name: str, request: BackupRequest) -> int:
    return _show(context, name, _take(context, context.active_server(name), request), request)


def _run_as_part(context: Context, name: str, request: str) -> int:
    """One of several: tell the process that started this one what there is to say."""
    context.output = Teller(sys.stdout)
    try:
        return _run_alone(context, name, BackupRequest(**json.loads(request)))
    except WalstreamError as error:
        context.output.error(error)
        return error.exit_code


def _run_several(
    context: Context, arguments: argparse.Namespace, names: list[str], request: BackupRequest
) -> int:
    """A process for each server; what is wrong with one keeps no other from being backed up."""
    code = 0
    words = {}
    for name in names:
        try:
            settings = context.server(name)
            if arguments.servers == ["all"] and not settings.active:
                context.output.line(f"{name} is inactive: skipped")
                continue
            context.active_server(name)
        except WalstreamError as error:
            context.output.error(error)
            code = 1
        else:
            words[name] = _part_words(context, arguments, name, request)
    label = f"backups of {len(words)} servers"
    return max(code, run_side_by_side(words, context.output, label, arguments.jobs))


def _part_words(
    context: Context, arguments: argparse.Namespace, name: str, request: BackupRequest
) -> list[str]:
    level = ["--log-level", arguments.log_level] if arguments.log_level is not None else []
    debug = ["-d"] if arguments.debug else []
    return [
        *("-c", context.configuration.file, *level, *debug),
        *("backup", name, "--as-part", json.dumps(asdict(request))),
    ]


def _request(arguments: argparse.Namespace) -> BackupRequest:
    rate = arguments.bwlimit
    if rate is not None and not 32 <= rate <= 1048576:
        raise UsageError(f"--bwlimit cannot be {rate}", "give 32 to 1048576 kB/s")
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UsageError(f"--jobs cannot be {arguments.jobs}", "give 1 or more")
    _check_name(arguments.name)
    if arguments.retry_times is not None and arguments.retry_times < 0:
        raise UsageError(f"--retry-times cannot be {arguments.retry_times}", "give 0 or more")
    return BackupRequest(
        name=arguments.name,
        incremental=arguments.incremental,
        fast_checkpoint=arguments.immediate_checkpoint,
        max_rate=rate,
        wait=arguments.wait,
        wait_timeout=arguments.wait_timeout,
        retries=arguments.retry_times,
        retry_pause=arguments.retry_sleep,
    )


def _check_name(name: str | None) -> None:
    if name is None:
        return
    if not name or not name.isprintable():
        raise UsageError("the name of a backup is not empty and holds no control characters", _OTHER_NAME)
    if name in WORDS or is_backup_id(name):
        raise UsageError(
            f"a backup cannot be called {name!r}: commands take that for something else",
            f"{_OTHER_NAME}; not an id, nor one of {', '.join(sorted(WORDS))}",
        )


def _take(context: Context, settings: ServerSettings, request: BackupRequest) -> BackupOutcome:
    output = context.output
    shown = output.progress(f"backup of {settings.name}")

    def progress(step: Progress) -> None:
        shown.update(step.done, step.total)

    def retry(error: WalstreamError, pause: float) -> None:
        output.warning(f"{error}; trying again in {duration(pause)}", error.hint)

    def wait(text: str) -> None:
        output.note(text)
        log.info("%s", text)

    with raising():
        try:
            return take_backup(wiring.backup_options(settings, request), progress, retry, wait)
        finally:
            shown.clear()


def _show(context: Context, name: str, outcome: BackupOutcome, request: BackupRequest) -> int:
    record, output = outcome.record, context.output
    state = SUSPECT if record.checksum_errors else DONE if outcome.restorable else WAITING_FOR_WALS
    ratio = record.raw_size / outcome.stored_bytes if outcome.stored_bytes else 1.0
    text = (
        f"{record.id}: {state}, {size(record.raw_size)} read, {size(outcome.stored_bytes)} stored "
        f"({ratio:.1f}:1) in {duration(outcome.seconds)}, WAL from {record.begin.lsn} to {record.end.lsn}"
    )
    output.line(f"{name} {text}")
    log.info("backup %s", text, extra={"backup": record.id, "timeline": record.end.timeline})
    output.put(
        name,
        {
            "backup_id": record.id,
            "backup_name": record.name,
            "backup_type": record.type,
            "parent_backup_id": record.parent,
            "status": state,
            "cluster_size_bytes": record.cluster_size,
            "stored_bytes": outcome.stored_bytes,
            "begin_lsn": str(record.begin.lsn),
            "end_lsn": str(record.end.lsn),
            **bad_page_facts(record),
            "timeline": record.end.timeline,
            "copy_time_seconds": record.copy_seconds,
            "total_time_seconds": round(outcome.seconds, 3),
        },
    )
    if record.checksum_errors:
        output.warning(
            f"the server found {bad_pages(record)} while it sent this backup",
            f"check its disks; {FIND_RELATION}; the backup is kept, but never chosen by itself",
        )
        return 1
    if request.wait and not outcome.restorable:
        output.warning(
            "not all WAL of this backup is stored yet, so it cannot be restored yet",
            f"let a receiver run; {to_start(name)}",
        )
        return 1
    return 0
