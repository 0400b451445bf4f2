"""``walstream demo``: the whole story on a throwaway server, one line for each step."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from contextlib import closing
from dataclasses import fields
from datetime import datetime

from catalog.errors import WalstreamError
from catalog.lsn import LSN
from catalog.units import duration, size
from walstream import __version__
from walstream.cli.context import Context
from walstream.cli.progress import Progress
from walstream.cli.signals import raising
from walstream.ops import demo_steps as story
from walstream.ops import unprivileged
from walstream.ops.demo import demo
from walstream.ops.demo_place import SERVER, Places, place
from walstream.ops.demo_servers import RESTORED_PORT
from walstream.ops.installation import find_binaries
from walstream.ops.payments import TABLE, Digest

EXAMPLE = "walstream demo --keep /tmp/demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep", metavar="DIR",
        help="leave configuration, repository and both clusters in this directory, empty or absent so far",
    )  # fmt: skip


def run(context: Context, arguments: argparse.Namespace) -> int:
    keep: str | None = arguments.keep
    began = time.monotonic()
    with raising(), place(keep) as directory:
        try:
            steps = _show_steps(context, directory)
        except WalstreamError:
            if keep is not None and os.listdir(directory):
                context.output.note(f"what there is so far stays in {directory}, and nothing of it runs")
            raise
        seconds = time.monotonic() - began
        _put(context, steps, seconds, directory if keep is not None else None)
        context.output.line(f"{'':9}Nothing was lost. All of it took {duration(seconds)}.")
        if keep is not None:
            _show_kept(context, directory)
        _show_commands(context, steps)
    return 0


def _show_steps(context: Context, directory: str) -> list[story.Step]:
    output = context.output
    shown: dict[str, Progress] = {}

    def progress(what: str, done: int, total: int | None) -> None:
        if what not in shown:
            shown[what] = output.progress(f"         {what}")
        shown[what].update(done, total)

    steps = []
    output.line(f"walstream {__version__} with a PostgreSQL server of its own, in {directory}\n")
    with closing(demo(directory, progress)) as acts:
        for step in acts:
            shown.clear()
            output.line(
                f"{duration(step.seconds):>7}  {output.paint(f'{step.name:9}', 'bold')}  {_text(step)}"
            )
            steps.append(step)
    return steps


def _text(step: story.Step) -> str:
    match step:
        case story.Started():
            return f"PostgreSQL {step.version} runs"
        case story.Receiving():
            return f"slot {step.slot} made; all WAL is received and synced, up to {step.position}"
        case story.Worked():
            rate = step.wal_bytes / step.seconds
            return (
                f"{step.rows:,} payments, {size(step.wal_bytes)} of WAL at {size(rate)}/s; "
                f"at most {size(step.lag_bytes)} ({duration(step.lag_bytes / max(rate, 1))}) not yet synced here"
            )
        case story.BackedUp():
            return (
                f"{size(step.cluster_bytes)} read, {_packed(step.cluster_bytes, step.stored_bytes)}; "
                f"{step.rows_meanwhile:,} payments meanwhile"
            )
        case story.Dropped():
            return (
                f"DROP TABLE {TABLE}: {step.rows:,} rows gone, just after {_clock(step.moment)}\n"
                f"{'':20}{_count(step.segments, 'segment')} of WAL so far, {size(step.raw_bytes)}, "
                f"{_packed(step.raw_bytes, step.stored_bytes)}; synced up to {step.position}"
            )
        case story.Restored():
            rate = step.restored_bytes / step.seconds
            return (
                f"{size(step.restored_bytes)} laid down at {size(rate)}/s, beside the server that lost them"
            )
        case story.Recovered():
            return (
                f"{size(step.wal_bytes)} of WAL replayed, to {_clock(step.moment)}; promoted to timeline "
                f"{step.timeline}"
            )
        case story.Compared():
            same = f"{step.after.rows:,} rows, checksum {step.after.checksum[:12]}…, before and after"
            return f"{same}: every row is back"
    raise AssertionError(f"no words for {step!r}")


def _packed(raw: int, stored: int) -> str:
    return f"{size(stored)} stored ({raw / stored:.1f}:1)" if stored else "nothing stored"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _clock(moment: datetime) -> str:
    return moment.isoformat(" ", "milliseconds")[11:23]


def _put(context: Context, steps: list[story.Step], seconds: float, kept: str | None) -> None:
    facts: dict[str, object] = {step.name.replace(" ", "_"): _facts(step) for step in steps}
    context.output.put(SERVER, facts | {"total_seconds": round(seconds, 3), "kept": kept})


def _facts(step: story.Step) -> dict[str, object]:
    facts: dict[str, object] = {}
    for field in fields(step):
        value = getattr(step, field.name)
        match value:
            case datetime():
                facts[f"{field.name}_timestamp"] = value.isoformat()
            case LSN():
                facts[field.name] = str(value)
            case Digest():
                facts[field.name] = {"rows": value.rows, "checksum": value.checksum}
            case float():
                facts[field.name] = round(value, 3)
            case _:
                facts[field.name] = value
    del facts["name"]
    return facts


def _show_kept(context: Context, directory: str) -> None:
    line, bold = context.output.line, context.output.paint
    kept = Places.within(directory)
    line()
    line(bold("Kept, and stopped", "bold"))
    line(f"  configuration  {kept.config}")
    line(f"  repository     {kept.repository}")
    for name, path in (("origin", kept.origin), ("restored", kept.restored)):
        line(f"  {name:13}  {path}, its log {path}.log")
    line("  to start one   " + _start(kept.restored))
    line(f"  to ask it      psql -h {shlex.quote(kept.sockets)} -p {RESTORED_PORT} -U postgres")


def _start(directory: str) -> str:
    pg_ctl = os.path.join(find_binaries(), "pg_ctl")
    return unprivileged.way().shown([pg_ctl, "-D", directory, "-l", f"{directory}.log", "start"])


def _show_commands(context: Context, steps: list[story.Step]) -> None:
    line = context.output.line
    moment = next(step.moment for step in steps if isinstance(step, story.Dropped))
    owner = " --owner postgres" if os.geteuid() == 0 else ""
    data = "/var/lib/postgresql/restored"
    line()
    line(context.output.paint("The same with a server of yours", "bold"))
    line("  walstream init main 'host=db.example.com user=walstream dbname=postgres'")
    line("  walstream receive-wal main")
    line("  walstream backup main")
    line("  walstream list-backups main")
    line(f"  walstream restore main auto {data}{owner} \\")
    line(f"      --target-time '{moment.isoformat(' ', 'milliseconds')}' --target-action promote")
    line(f"  pg_ctl -D {data} start")
