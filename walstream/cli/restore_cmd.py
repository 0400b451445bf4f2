"""``walstream restore``: bring a cluster back, to the newest or a chosen moment."""

from __future__ import annotations

import argparse
import os

from backup.neutralise import AUTO_CONF
from catalog import layout
from catalog.errors import UsageError
from catalog.target import IMMEDIATE, NAME, POSITION, TIME, XID, RecoveryTarget
from walstream.cli.context import Context
from walstream.cli.light import add_identity_arguments
from walstream.cli.restore_text import plan_facts, report_facts, show_plan, show_report
from walstream.cli.signals import raising
from walstream.cli.stored import readable_repository
from walstream.ops.hooks import RECOVERY
from walstream.ops.offline import MOST_JOBS
from walstream.ops.restore import RestoreRequest, plan_restore, restore_planned
from walstream.ops.restore_elsewhere import Elsewhere, is_there_already
from walstream.ops.retain import is_obsolete
from walstream.settings import options

_MARKED = (
    "what was laid down carries a mark, and PostgreSQL does not start on it: repeat the restore, or remove it"
)
EXAMPLE = "walstream restore main auto /var/lib/postgresql/restored --target-time '2026-01-31 12:00:00+01:00'"
JOBS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "server", metavar="S", help="a server's name, or the path of its repository directory"
    )
    parser.add_argument("backup", metavar="ID", help="a backup's id or name, latest, oldest, or auto")
    parser.add_argument("destination", metavar="DEST", help="the new data directory, empty or absent")
    target = parser.add_argument_group("recovery target (at most one; none means all WAL there is)")
    target.add_argument("--target-time", metavar="TIME", help="with zone; without one it is local time")
    target.add_argument("--target-lsn", metavar="LSN", help="a position, like 16/B374D848")
    target.add_argument("--target-xid", metavar="XID", help="a transaction")
    target.add_argument("--target-name", metavar="NAME", help="a restore point (pg_create_restore_point)")
    target.add_argument("--target-immediate", action="store_true", help="as soon as the backup is consistent")
    target.add_argument("--target-tli", metavar="N", help="the timeline: a number, current or latest")
    target.add_argument("--exclusive", action="store_true", help="stop just before the target")
    target.add_argument(
        "--target-action", choices=("pause", "promote", "shutdown"), help="what to do there (default: pause)"
    )
    parser.add_argument(
        "--tablespace", metavar="NAME:LOCATION", action="append", default=[],
        help="restore a tablespace elsewhere (may be repeated)",
    )  # fmt: skip
    parser.add_argument("--owner", metavar="USER", help="whom the files are to belong to (as root only)")
    parser.add_argument(
        "--standby-mode", action="store_true", help="make a standby instead of a recovered primary"
    )
    parser.add_argument(
        "--get-wal", action=argparse.BooleanOptionalAction,
        help="fetch WAL while the cluster recovers, or copy it beforehand (default: recovery_options)",
    )  # fmt: skip
    parser.add_argument(
        "--partial-wal", action=argparse.BooleanOptionalAction, default=True,
        help="also use the newest segment, which is not yet complete (default: do)",
    )  # fmt: skip
    parser.add_argument(
        "--recovery-conf-filename", metavar="FILE", default=AUTO_CONF,
        help=f"the file of the data directory for the recovery settings (default: {AUTO_CONF}, which includes it)",
    )  # fmt: skip
    parser.add_argument(
        "--if-empty",
        action="store_true",
        help="if there is a cluster in DEST already, do nothing, successfully",
    )
    parser.add_argument(
        "-j", "--jobs", metavar="N", type=_jobs, default=JOBS,
        help=f"decompress with so many threads (default: {JOBS})",
    )  # fmt: skip
    parser.add_argument(
        "--remote-ssh-command", metavar="COMMAND",
        help="restore to another machine, which has a shell and tar: 'ssh postgres@host'",
    )  # fmt: skip
    parser.add_argument(
        "--staging-path",
        metavar="DIR",
        help="build here first what goes to another machine (incremental backups must be: default staging_path)",
    )
    parser.add_argument(
        "--home", metavar="DIR", help="where the server's spool is, if S is a path and it is elsewhere"
    )
    add_identity_arguments(parser)
    parser.add_argument(
        "--scan", action=argparse.BooleanOptionalAction, default=True,
        help="read WAL to find out where the target is reached, and refuse one that is not (default: do)",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="show the plan, and end")


def run(context: Context, arguments: argparse.Namespace) -> int:
    places = context.places(arguments.server)
    repository = readable_repository(places, arguments)
    elsewhere = _elsewhere(context, arguments)
    if arguments.if_empty and is_there_already(arguments.destination, elsewhere):
        context.output.line(f"{arguments.destination} holds a cluster already: nothing was done")
        context.output.put(places.name, {"restored": False, "destination": arguments.destination})
        return 0
    request = RestoreRequest(
        backup=arguments.backup,
        destination=arguments.destination,
        target=_target(arguments),
        tablespaces=dict(_mapping(text) for text in arguments.tablespace),
        owner=arguments.owner,
        partial_wal=arguments.partial_wal,
        standby_mode=arguments.standby_mode,
        scan=arguments.scan,
        prefetch_segments=context.setting(arguments.server, options.PREFETCH_SEGMENTS),
        get_wal=_get_wal(context, arguments, elsewhere),
        elsewhere=elsewhere,
        conf_file=arguments.recovery_conf_filename,
        jobs=arguments.jobs,
    )
    home = arguments.home or places.home
    if not os.path.isdir(os.path.join(home, layout.STREAMING)):
        context.output.warning(
            f"there is no spool in {home!r}: WAL that was received but not yet archived is not used",
            "if it is elsewhere (walstream_home), name that server's directory with --home",
        )
    with context.output.progress("read WAL to find the target") as shown:
        planned = plan_restore(repository, home, request, shown.update)
    show_plan(context.output, planned)
    facts = plan_facts(planned) | {"restored": False}
    context.output.put(places.name, facts)
    for warning in planned.plan.warnings:
        context.output.warning(warning)
    obsolete = is_obsolete(repository, home, context.rules(arguments.server), planned.plan.backup.id)
    if obsolete:
        _warn_of_obsolete(context, places.name, planned.plan.backup.id)
    if arguments.dry_run:
        return 0
    wal = planned.options.wal
    total = planned.nbytes + (wal.nbytes if wal is not None else 0)
    shown = context.output.progress(f"restore of {planned.plan.backup.id}", total)
    hook_facts = {
        "backup_id": planned.plan.backup.id,
        "destination_directory": planned.options.destination,
        "tablespaces": planned.options.tablespaces,
        "remote_command": None if planned.remote is None else planned.remote.command,
    }
    with raising(_MARKED), context.hooks(arguments.server).around(RECOVERY, hook_facts):
        try:
            report = restore_planned(planned, shown.update)
        finally:
            shown.clear()
    context.output.put(places.name, facts | report_facts(report))
    show_report(context.output, planned, report)
    if obsolete:
        keep = _keep(places.name, planned.plan.backup.id)
        context.output.line(
            f"the backup may go at the next maintenance; keep it until the cluster is up: {keep}"
        )
    return 0


def _warn_of_obsolete(context: Context, server: str, backup_id: str) -> None:
    context.output.warning(
        f"backup {backup_id} is OBSOLETE by the retention policy: the next maintenance may remove it, and WAL that "
        "the restored cluster still needs",
        f"keep it first: {_keep(server, backup_id)}",
    )


def _keep(server: str, backup_id: str) -> str:
    return f"walstream keep {server} {backup_id} --target full"


def _jobs(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MOST_JOBS:
        raise argparse.ArgumentTypeError(f"not a number of threads from 1 to {MOST_JOBS}: {text!r}")
    return int(text)


def _elsewhere(context: Context, arguments: argparse.Namespace) -> Elsewhere | None:
    if arguments.remote_ssh_command is None:
        if arguments.staging_path is not None:
            raise UsageError(
                "--staging-path is for restores to another machine", "name it with --remote-ssh-command"
            )
        return None
    return Elsewhere(
        command=arguments.remote_ssh_command,
        way_back=context.setting(arguments.server, options.RESTORE_SSH_COMMAND),
        staging=arguments.staging_path,
        staging_path=context.setting(arguments.server, options.STAGING_PATH),
    )


def _get_wal(context: Context, arguments: argparse.Namespace, elsewhere: Elsewhere | None) -> bool:
    """As asked for, else as configured; a machine that cannot reach this one gets the WAL beforehand."""
    if arguments.get_wal is not None:
        return bool(arguments.get_wal)
    reachable = elsewhere is None or elsewhere.way_back is not None
    return reachable and context.setting(arguments.server, options.RECOVERY_OPTIONS) == "get-wal"


def _target(arguments: argparse.Namespace) -> RecoveryTarget:
    given = {
        kind: text
        for kind, text in (
            (TIME, arguments.target_time),
            (POSITION, arguments.target_lsn),
            (XID, arguments.target_xid),
            (NAME, arguments.target_name),
            (IMMEDIATE, "" if arguments.target_immediate else None),
        )
        if text is not None
    }
    return RecoveryTarget.from_options(
        given, timeline=arguments.target_tli, exclusive=arguments.exclusive, action=arguments.target_action
    )


def _mapping(text: str) -> tuple[str, str]:
    name, colon, location = text.partition(":")
    if not colon or not name or not location:
        raise UsageError(f"not a tablespace and its location: {text!r}", "write it as NAME:/absolute/path")
    return name, location
