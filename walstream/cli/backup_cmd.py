"""``walstream backup``: take a base backup."""

from __future__ import annotations

import argparse
import math

from backup.incoming import Progress
from catalog.backups import is_backup_id
from catalog.errors import UsageError, WalstreamError
from catalog.lookup import WORDS
from walstream.cli.context import Context
from walstream.cli.signals import raising
from walstream.cli.units import duration, size
from walstream.ops import wiring
from walstream.ops.backup import BackupOutcome, BackupRequest, take_backup
from walstream.ops.items import to_start
from walstream.settings.server import ServerSettings

EXAMPLE = "walstream backup main --immediate-checkpoint --name before-upgrade"

_OTHER_NAME = "choose another name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="S", nargs="+", help="servers of the configuration, or 'all'")
    parser.add_argument("--name", help="a name for the backup, beside its id")
    parser.add_argument(
        "--incremental", metavar="ID",
        help="only what has changed since this backup: an id, a name, latest or latest-full (17 and later)",
    )  # fmt: skip
    parser.add_argument(
        "--wait", "-w", action=argparse.BooleanOptionalAction, default=True,
        help="wait until all WAL of the backup is stored (default: wait)",
    )  # fmt: skip
    parser.add_argument("--wait-timeout", metavar="SECONDS", type=float, help="but no longer than that")
    parser.add_argument(
        "--immediate-checkpoint", action=argparse.BooleanOptionalAction, default=None,
        help="begin with a fast checkpoint instead of a spread one",
    )  # fmt: skip
    parser.add_argument("--bwlimit", metavar="KBPS", type=int, help="limit the rate, in kB/s (32 to 1048576)")
    parser.add_argument("--retry-times", metavar="N", type=int, help="how often to try again after a failure")
    parser.add_argument("--retry-sleep", metavar="SECONDS", type=float, help="the pause before that")


def run(context: Context, arguments: argparse.Namespace) -> int:
    request = _request(arguments)
    code = 0
    names = context.server_names(arguments.servers)
    for name in names:
        try:
            outcome = _take(context, context.active_server(name), request)
        except WalstreamError as error:
            if len(names) == 1 or error.exit_code == 130:
                raise
            context.output.error(error)
            code = 1
        else:
            code = max(code, _show(context, name, outcome, request))
    return code


def _request(arguments: argparse.Namespace) -> BackupRequest:
    rate = arguments.bwlimit
    if rate is not None and not 32 <= rate <= 1048576:
        raise UsageError(f"--bwlimit cannot be {rate}", "give 32 to 1048576 kB/s")
    _check_name(arguments.name)
    for option, value in (
        ("--wait-timeout", arguments.wait_timeout),
        ("--retry-times", arguments.retry_times),
        ("--retry-sleep", arguments.retry_sleep),
    ):
        if value is not None and not (value >= 0 and math.isfinite(value)):
            raise UsageError(f"{option} cannot be {value}", "give 0 or more")
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
            f"a backup cannot be called {name!r}: commands take that for something else", _OTHER_NAME
        )


def _take(context: Context, settings: ServerSettings, request: BackupRequest) -> BackupOutcome:
    output = context.output
    shown = output.progress(f"backup of {settings.name}")

    def progress(step: Progress) -> None:
        shown.update(step.done, step.total)

    def retry(error: WalstreamError, pause: float) -> None:
        output.warning(f"{error}; trying again in {duration(pause)}", error.hint)

    with raising():
        try:
            return take_backup(wiring.backup_options(settings, request), progress, retry)
        finally:
            shown.clear()


def _show(context: Context, name: str, outcome: BackupOutcome, request: BackupRequest) -> int:
    record, output = outcome.record, context.output
    state = "SUSPECT" if record.checksum_errors else "DONE" if outcome.restorable else "WAITING_FOR_WALS"
    ratio = record.raw_size / outcome.stored_bytes if outcome.stored_bytes else 1.0
    output.line(
        f"{name} {record.id}: {state}, {size(record.raw_size)} read, {size(outcome.stored_bytes)} stored "
        f"({ratio:.1f}:1) in {duration(outcome.seconds)}, WAL from {record.begin.lsn} to {record.end.lsn}"
    )
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
            "timeline": record.end.timeline,
            "copy_time_seconds": record.copy_seconds,
            "total_time_seconds": round(outcome.seconds, 3),
        },
    )
    if record.checksum_errors:
        output.warning(
            f"the server found {record.checksum_errors} bad page checksum(s) while sending this backup",
            "check its disks; the server's log names the files; the backup is kept, but never chosen by itself",
        )
        return 1
    if request.wait and not outcome.restorable:
        output.warning(
            "not all WAL of this backup is stored yet, so it cannot be restored yet",
            f"let a receiver run; {to_start(name)}",
        )
        return 1
    return 0
