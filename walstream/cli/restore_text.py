"""A restore in words and as facts: the plan, and what became of it."""

from __future__ import annotations

import shlex

from backup.copied_wal import WalCopy
from backup.restore import RestoreReport
from catalog.recovery import RecoveryPlan
from catalog.search import Reached
from catalog.target import RecoveryTarget
from catalog.units import counted, duration, size
from walstream.cli.output import Output
from walstream.ops.restore import PlannedRestore


def _target_text(target: RecoveryTarget) -> str:
    if target.time is not None:
        return f"time {target.time.astimezone().isoformat(' ')}{' (local time)' if target.local else ''}"
    return target.kind if target.value is None else f"{target.kind} {target.value}"


def show_plan(output: Output, planned: PlannedRestore) -> None:
    """What will be done, before it is."""
    plan, line = planned.plan, output.line
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
    copied = planned.options.wal
    if copied is not None:
        line(f"WAL copied   {counted(copied.segments, 'segment')} ({size(copied.nbytes)})")
    if planned.remote is not None:
        line(f"machine      {planned.remote.command}")
    for path, (needed, free) in planned.room.items():
        line(f"destination  {path}: {size(needed)} needed, {size(free)} free")


def _reached_text(reached: Reached) -> str:
    if reached.time is None:
        return f"at {reached.stop}"
    of = "" if reached.xid is None else f" of transaction {reached.xid}"
    before_or_behind = "behind" if reached.stop == reached.end else "before"
    what = "the restore point" if reached.xid is None else "the end"
    return f"at {reached.stop}, {before_or_behind} {what}{of} ({reached.time.astimezone().isoformat(' ')})"


def plan_facts(planned: PlannedRestore) -> dict[str, object]:
    """The same for machines."""
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
        **_wal_facts(planned.options.wal),
        "remote": None if planned.remote is None else planned.remote.command,
        "destinations": {
            path: {"needed_bytes": needed, "free_bytes": free}
            for path, (needed, free) in planned.room.items()
        },
        "warnings": list(plan.warnings),
    }


def _wal_facts(wal: WalCopy | None) -> dict[str, object]:
    copied = {} if wal is None else {"copied_segments": wal.segments, "copied_wal_bytes": wal.nbytes}
    return {"get_wal": wal is None, **copied}


def _reached_facts(plan: RecoveryPlan) -> dict[str, object]:
    """Where the target is reached; nulls when that is not known."""
    reached, time = plan.reached, plan.reached.time if plan.reached is not None else None
    return {
        "reached_lsn": None if reached is None else str(reached.stop),
        "reached_time": None if time is None else time.astimezone().isoformat(" "),
        "reached_time_timestamp": None if time is None else str(int(time.timestamp())),
        "reached_xid": None if reached is None else reached.xid,
    }


def report_facts(report: RestoreReport) -> dict[str, object]:
    """What was done, for machines."""
    return {
        "restored": True,
        "changes": list(report.changes),
        "changes_count": len(report.changes),
        "settings": dict(report.settings),
        "restored_bytes": report.nbytes,
        "recovery_elapsed_time_seconds": round(report.seconds, 3),
        "warnings": list(report.warnings),
        "warnings_count": len(report.warnings),
    }


def show_report(output: Output, planned: PlannedRestore, report: RestoreReport) -> None:
    """What was done, and what to do next."""
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
    there, directory = "there " if planned.remote else "", shlex.quote(planned.options.destination)
    output.line(f"start it {there}with: pg_ctl -D {directory} start")
    if planned.plan.target.kind != "latest" and planned.plan.target.action in (None, "pause"):
        output.line("it pauses at the target, readable; to make it writable: SELECT pg_wal_replay_resume();")
