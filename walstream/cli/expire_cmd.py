"""``walstream expire``: remove what the retention policy lets go, and say why."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from catalog.coverage import names
from catalog.errors import UsageError, WalstreamError
from catalog.reach import Window
from catalog.units import counted, size
from walstream.cli.context import Context
from walstream.cli.units import local_time
from walstream.ops.expire import Plan, carry_out, plan_expiry
from walstream.ops.local import hooks_of, rules_of, stored_repository
from walstream.ops.stored import backup_lock
from walstream.ops.sweep import sweep
from walstream.settings.server import ServerSettings

EXAMPLE = "walstream expire main --dry-run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="SERVER", nargs="+", help="servers of the configuration, or 'all'")
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would happen to each backup, and why"
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Apply each server's policy; what is wrong with one does not keep the others from it."""
    code = 0
    every = arguments.servers == ["all"]
    for name in context.server_names(arguments.servers):
        try:
            settings = context.server(name)
            if settings.retention_policy is not None:
                _expire(context, settings, dry_run=arguments.dry_run)
            elif every:
                context.output.line(f"{name}: no retention_policy, so nothing expires")
            else:
                raise UsageError(
                    f"server {name!r} has no retention_policy, so nothing expires",
                    "set one in its section, such as RECOVERY WINDOW OF 2 WEEKS; or remove backups one by one: "
                    "walstream delete",
                )
        except WalstreamError as error:
            context.output.error(error)
            code = max(code, error.exit_code)
    return code


def _expire(context: Context, settings: ServerSettings, *, dry_run: bool) -> None:
    repository, rules = stored_repository(settings), rules_of(settings)
    if dry_run:
        plan = plan_expiry(repository, settings.home, rules)
        _show(context, settings, plan)
        context.output.put(settings.name, _facts(plan))
        return
    with backup_lock(repository, settings.name):
        sweep(repository)
        plan = plan_expiry(repository, settings.home, rules)
        _show(context, settings, plan)
        gone: list[str] = []
        facts = _facts(plan) | {"removed_backups": gone}
        context.output.put(settings.name, facts)  # what an error leaves to be told
        removed = carry_out(plan, repository, lambda each, _: gone.append(each), hooks_of(settings))
    context.output.put(
        settings.name,
        facts | {"removed_wal_files": removed.wal_files, "removed_wal_bytes": removed.wal_bytes},
    )
    context.output.line(
        f"removed      {counted(len(removed.backups), 'backup')}, {counted(removed.wal_files, 'WAL file')} "
        f"({size(removed.wal_bytes)})"
    )


def _show(context: Context, settings: ServerSettings, plan: Plan) -> None:
    line, verdicts = context.output.line, plan.judged.verdicts
    policy = settings.retention_policy
    line(
        f"{settings.name}: {policy.text if policy else 'none'}, minimum_redundancy {settings.minimum_redundancy}"
    )
    for each in reversed(plan.survey.backups):
        verdict = verdicts.get(each.id)
        if verdict is None:
            line(f"stays        {each.id} {each.status.word}: it has no record")
            continue
        what = "goes" if each.id in plan.going else "stays"
        line(f"{what:<12} {each.id} {verdict.shown}: {verdict.reason}")
    if plan.wal.runs or plan.wal.partials:
        line(f"WAL goes     {counted(len(plan.wal), 'segment')}: {names(plan.wal.runs, plan.size)}")
    else:
        line("WAL goes     none")
    line(f"recoverable  {_text(plan.before)}")
    line(f"afterwards   {_text(plan.after)}")


def _text(windows: Sequence[Window]) -> str:
    return "; ".join(
        f"from {local_time(each.first.end.time)} (backup {each.first.id}) "
        f"to the end of segment {each.last.name(each.first.wal_segment_size)}"
        for each in windows
    ) or "nothing"  # fmt: skip


def _facts(plan: Plan) -> dict[str, object]:
    return {
        "backups": [
            {
                "backup_id": each.id,
                "status": each.status.word,
                "goes": each.id in plan.going,
                "retention_status": verdict.shown if verdict is not None else "-",
                "reason": verdict.reason if verdict is not None else "it has no record",
            }
            for each in reversed(plan.survey.backups)
            for verdict in [plan.judged.verdicts.get(each.id)]
        ],
        "wal": [
            {"timeline": run.timeline, "first": first, "last": last, "segments": len(run)}
            for run in plan.wal.runs
            for first, last in [plan.names_of(run)]
        ],
        "recoverable_before": [_window_facts(each) for each in plan.before],
        "recoverable_after": [_window_facts(each) for each in plan.after],
    }


def _window_facts(window: Window) -> dict[str, object]:
    return {
        "backup_id": window.first.id,
        "from": window.first.end.time.isoformat(),
        "last_wal": window.last.name(window.first.wal_segment_size),
    }
