"""``walstream restore``: bring a cluster back, to the newest or a chosen moment."""

from __future__ import annotations

import argparse
import os

from backup.restore import RestoreReport, restore
from catalog import layout
from catalog.errors import UsageError
from catalog.pitr import RecoveryPlan
from catalog.search import Reached
from catalog.target import IMMEDIATE, NAME, POSITION, TIME, XID, RecoveryTarget
from walstream.cli.context import Context
from walstream.cli.light import add_identity_arguments, chosen_identities
from walstream.cli.signals import raising
from walstream.cli.units import duration, local_time, size
from walstream.ops.hooks import RECOVERY
from walstream.ops.restore import PlannedRestore, RestoreRequest, plan_restore
from walstream.ops.stored import repository_at
from walstream.settings.options import PREFETCH_SEGMENTS

EXAMPLE = "walstream restore main auto /var/lib/postgresql/restored --target-time '2026-01-31 12:00:00+01:00'"


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
        "--partial-wal", action=argparse.BooleanOptionalAction, default=True,
        help="also use the newest segment, which is not yet complete (default: do)",
    )  # fmt: skip
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
    repository = repository_at(places.repository, places.name)
    identities = chosen_identities(arguments.identity_file, arguments.identity_command, places)
    if identities is not None:
        repository = repository.with_identities(identities)
    request = RestoreRequest(
        backup=arguments.backup,
        destination=arguments.destination,
        target=_target(arguments),
        tablespaces=dict(_mapping(text) for text in arguments.tablespace),
        owner=arguments.owner,
        partial_wal=arguments.partial_wal,
        standby_mode=arguments.standby_mode,
        scan=arguments.scan,
        prefetch_segments=context.setting(arguments.server, PREFETCH_SEGMENTS),
    )
    home = arguments.home or places.home
    if not os.path.isdir(os.path.join(home, layout.STREAMING)):
        context.output.warning(
            f"there is no spool in {home!r}: WAL that was received but not yet archived is not used",
            "if it is elsewhere (walstream_home), name that server's directory with --home",
        )
    with context.output.progress("read WAL to find the target") as shown:
        planned = plan_restore(repository, home, request, shown.update)
    _show_plan(context, planned)
    facts = _plan_facts(planned)
    context.output.put(places.name, facts)
    for warning in planned.plan.warnings:
        context.output.warning(warning)
    if arguments.dry_run:
        return 0
    shown = context.output.progress(f"restore of {planned.plan.backup.id}", planned.nbytes)
    hook_facts = {
        "backup_id": planned.plan.backup.id,
        "destination_directory": planned.options.destination,
        "tablespaces": planned.options.tablespaces,
    }
    with raising(), context.hooks(arguments.server).around(RECOVERY, hook_facts):
        try:
            report = restore(planned.plan, repository, planned.options, shown.update)
        finally:
            shown.clear()
    context.output.put(places.name, facts | _report_facts(report))
    _show_report(context, planned, report)
    return 0


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


def _target_text(target: RecoveryTarget) -> str:
    if target.time is not None:
        return f"time {local_time(target.time)}{' (local time)' if target.local else ''}"
    return target.kind if target.value is None else f"{target.kind} {target.value}"


def _show_plan(context: Context, planned: PlannedRestore) -> None:
    plan, line = planned.plan, context.output.line
    wal = (
        f"{plan.first.name(plan.backup.wal_segment_size)} to {plan.until.name(plan.backup.wal_segment_size)}"
    )
    line(f"backup       {plan.backup.id} ({size(plan.backup.cluster_size)})")
    if plan.parents:
        line(f"laid over    {', '.join(each.id for each in plan.parents)}")
    line(f"target       {_target_text(plan.target)}{'' if plan.target.inclusive else ', exclusive'}")
    if plan.reached is not None:
        line(f"reached      {_reached_text(plan.reached)}")
    line(f"timelines    {' → '.join(str(leg.timeline) for leg in plan.path.legs)}")
    line(f"WAL needed   {wal}")
    for path, (needed, free) in planned.room.items():
        line(f"destination  {path}: {size(needed)} needed, {size(free)} free")


def _reached_text(reached: Reached) -> str:
    if reached.time is None:
        return f"at {reached.stop}"
    of = "" if reached.xid is None else f" of transaction {reached.xid}"
    before_or_behind = "behind" if reached.stop == reached.end else "before"
    what = "the restore point" if reached.xid is None else "the end"
    return f"at {reached.stop}, {before_or_behind} {what}{of} ({reached.time.astimezone().isoformat(' ')})"


def _plan_facts(planned: PlannedRestore) -> dict[str, object]:
    plan = planned.plan
    return {
        "backup_id": plan.backup.id,
        "chain": [each.id for each in plan.chain],
        "target": plan.target.kind,
        "target_value": None if plan.target.value is None else str(plan.target.value),
        **_reached_facts(plan),
        "timeline": plan.timeline,
        "path": str(plan.path),
        "first_wal": plan.first.name(plan.backup.wal_segment_size),
        "last_needed_wal": plan.until.name(plan.backup.wal_segment_size),
        "destinations": {
            path: {"needed_bytes": needed, "free_bytes": free}
            for path, (needed, free) in planned.room.items()
        },
        "warnings": list(plan.warnings),
    }


def _reached_facts(plan: RecoveryPlan) -> dict[str, object]:
    """Where the target is reached; nulls when that is not known."""
    reached, time = plan.reached, plan.reached.time if plan.reached is not None else None
    return {
        "reached_lsn": None if reached is None else str(reached.stop),
        "reached_time": None if time is None else time.astimezone().isoformat(" "),
        "reached_time_timestamp": None if time is None else str(int(time.timestamp())),
        "reached_xid": None if reached is None else reached.xid,
    }


def _report_facts(report: RestoreReport) -> dict[str, object]:
    return {
        "changes": list(report.changes),
        "changes_count": len(report.changes),
        "settings": dict(report.settings),
        "restored_bytes": report.nbytes,
        "recovery_elapsed_time_seconds": round(report.seconds, 3),
        "warnings": list(report.warnings),
    }


def _show_report(context: Context, planned: PlannedRestore, report: RestoreReport) -> None:
    output = context.output
    rate = report.nbytes / report.seconds if report.seconds else 0.0
    output.line(f"restored     {size(report.nbytes)} in {duration(report.seconds)} ({size(rate)}/s)")
    for change in report.changes:
        output.line(f"changed      {change}")
    harmless = ", ".join(
        name
        for name, value in report.settings
        if not name.startswith("recovery_target") and value in ("", "off", "0")
    )
    output.line(f"switched off in postgresql.auto.conf: {harmless}")
    for warning in report.warnings:
        if warning not in planned.plan.warnings:
            output.warning(warning)
    output.line(f"start it with: pg_ctl -D {planned.options.destination} start")
    if planned.plan.target.kind != "latest" and planned.plan.target.action in (None, "pause"):
        output.line("it pauses at the target, readable; to make it writable: SELECT pg_wal_replay_resume();")
