"""``walstream config-switch``: put a model of the configuration in force for a server, or none."""

from __future__ import annotations

import argparse

from catalog.errors import UsageError
from walstream.cli.context import Context
from walstream.cli.numbers import seconds
from walstream.ops.switch_model import Switched, newest_held, switch_model, wait_until_it_holds
from walstream.settings.conninfo import masked

EXAMPLE = "walstream config-switch main main:standby"

WAIT_TIMEOUT = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Put a model in force: the options in its section (model = true, cluster = …) hold in place of the "
        "server's own, until another one is chosen or --reset. It is remembered, and the running receiver goes on "
        "with it at once; the command ends when that streams again, with exit code 1 if it does not in time. Meant "
        "for failover: nothing switches by itself."
    )
    parser.add_argument("server", metavar="SERVER", help="the server's name")
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="the name of a model of the server's cluster"
    )
    parser.add_argument(
        "--wait-timeout", metavar="SECONDS", type=seconds, default=WAIT_TIMEOUT,
        help=f"wait no longer for the receiver; 0 does not wait at all (default: {WAIT_TIMEOUT:g})",
    )  # fmt: skip
    parser.add_argument("--reset", action="store_true", help="no model: only the server's own section holds")


def run(context: Context, arguments: argparse.Namespace) -> int:
    if (arguments.model is None) != arguments.reset:
        raise UsageError("one model is to be named, or --reset is", "see: walstream config-switch --help")
    done = switch_model(context.config_file, arguments.server, arguments.model)
    told = done.told
    context.output.line(f"{done.server}: {_what(done)}")
    if done.left_slot is not None and done.before is not None:
        former = masked(done.before.wal_streaming_conninfo)
        context.output.line(
            f"{done.server}: replication slot {done.left_slot!r} stays on the former host ({former}) and keeps WAL "
            "there, without limit unless max_slot_wal_keep_size sets one; if that server goes on without us, drop "
            f"it there: SELECT pg_drop_replication_slot('{done.left_slot}');"
        )
    if told.is_backup:
        context.output.note(
            f"process {told.receiver}, a backup that receives its WAL by itself, ends with the former settings"
        )
    elif told.receiver is not None:
        context.output.line(f"{done.server}: process {told.receiver}, which receives, was told")
    elif told.supervisor is not None:
        context.output.line(f"{done.server}: process {told.supervisor}, walstream run, was told")
    facts: dict[str, object] = {
        "active_model": done.model,
        "former_model": done.former,
        "process": None if told.is_backup else told.receiver,
        "streaming": None,
    }
    context.output.put(done.server, facts)
    if done.is_awaited and arguments.wait_timeout:
        _wait(context, done, facts, arguments.wait_timeout)
    return 0


def _wait(context: Context, done: Switched, facts: dict[str, object], patience: float) -> None:
    # Only here, because it loads what a connection needs.
    from walstream.ops.wiring import receives_alike

    runs = done.wanted and done.told.receiver is not None
    if runs and done.before and done.after and receives_alike(done.before, done.after):
        return  # that one goes on as it is
    context.output.put(done.server, facts | {"streaming": False})
    state = wait_until_it_holds(done, patience)
    if state is None:
        context.output.line(f"{done.server}: no receiver runs now")
        return
    host = f" from {state.host}" if state.host else ""
    context.output.line(
        f"{done.server}: process {state.pid} streams{host}, timeline {state.timeline}, from {state.written} on"
    )
    context.output.put(
        done.server, facts | {"streaming": True, "host": state.host, "timeline": state.timeline}
    )
    newest = newest_held(done)
    if newest is not None and newest > state.timeline:
        context.output.warning(
            f"{done.server!r} is received on timeline {state.timeline} now, which is older than timeline {newest}, "
            "received before: is this a former primary, or a standby that did not follow the new one? What was "
            f"committed on timeline {newest} is not in it",
            f"if timeline {newest} is the one that counts, go back at once: {done.way_back}",
        )


def _what(done: Switched) -> str:
    if done.model is None:
        return (
            "no model was in force" if done.former is None else f"model {done.former!r} is no longer in force"
        )
    if done.former == done.model:
        return f"model {done.model!r} was in force already"
    before = f" in place of {done.former!r}" if done.former is not None else ""
    return f"model {done.model!r} is in force{before}"
