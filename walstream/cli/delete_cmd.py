"""``walstream delete``: remove one backup, those that rest on it, and the WAL that nothing needs any more."""

from __future__ import annotations

import argparse

from catalog.units import counted, size
from walstream.cli.context import Context
from walstream.ops.expire import carry_out, plan_removal
from walstream.ops.local import hooks_of, rules_of, stored_repository
from walstream.ops.stored import backup_lock
from walstream.ops.sweep import sweep

EXAMPLE = "walstream delete main oldest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a server of the configuration")
    parser.add_argument(
        "backup", metavar="ID", help="an id, a name, latest, oldest, latest-full or last-failed"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would go, and end")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Remove the backup; what is to stay is refused before anything is touched."""
    settings, output = context.server(arguments.server), context.output
    repository = stored_repository(settings)
    with backup_lock(repository, settings.name):
        if not arguments.dry_run:
            sweep(repository)
        plan = plan_removal(repository, settings.home, rules_of(settings), arguments.backup)
        facts: dict[str, object] = {"backups": list(plan.going), "wal_segments": len(plan.wal)}
        for each, reason in plan.going.items():
            output.line(f"goes         {each}: {reason}")
        if arguments.dry_run:
            output.line(f"WAL goes     {counted(len(plan.wal), 'segment')}")
            output.put(settings.name, facts)
            return 0
        gone: list[str] = []
        facts["removed_backups"] = gone
        output.put(settings.name, facts)  # what an error leaves to be told
        removed = carry_out(plan, repository, lambda each, _: gone.append(each), hooks_of(settings))
    output.put(
        settings.name,
        facts | {"removed_wal_files": removed.wal_files, "removed_wal_bytes": removed.wal_bytes},
    )
    output.line(
        f"removed      {counted(len(removed.backups), 'backup')}, {counted(removed.wal_files, 'WAL file')} "
        f"({size(removed.wal_bytes)})"
    )
    if plan.before and not plan.after:
        output.warning(
            f"no backup of {settings.name!r} can be restored any more",
            f"take one: walstream backup {settings.name}",
        )
    return 0
