"""``walstream receive-wal``: stream WAL in the foreground, until a signal; SIGHUP brings new settings."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from catalog.active_model import read_active_model
from catalog.errors import Busy, ConfigurationError, Malformed, ServerRefused, UsageError
from catalog.lsn import LSN
from catalog.state import clear_stopped, is_stopped, read_receiver_state, receiver_holder
from walstream import slots
from walstream.cli.context import Context
from walstream.cli.signals import calling
from walstream.connection import Connection
from walstream.ops import wiring
from walstream.ops.place import reserved
from walstream.ops.stop import stop_receiver
from walstream.ops.succession import Setup, Succession
from walstream.settings.server import ServerSettings

EXAMPLE = "walstream receive-wal main"

log = logging.getLogger("walstream.receiver")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="S", help="the server's name in the configuration")
    parser.add_argument("--endpos", metavar="LSN", help="stop once everything before this position is synced")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--create-slot", action="store_true", help="create the replication slot, and end")
    action.add_argument("--drop-slot", action="store_true", help="drop the replication slot, and end")
    action.add_argument(
        "--stop",
        action="store_true",
        help="end the running receiver; run and cron start none until receive-wal is called for this server again",
    )
    action.add_argument(
        "--supervised",
        action="store_true",
        help="as run and cron call it: end at once after --stop, and wait for a server that is away",
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    settings = context.server(arguments.server)
    if arguments.endpos is not None and (arguments.stop or arguments.create_slot or arguments.drop_slot):
        raise UsageError("--endpos is for receiving", "leave away --endpos, or the other option")
    if arguments.stop:
        return _stop(context, settings)
    if arguments.create_slot or arguments.drop_slot:
        return _change_slot(context, settings, create=arguments.create_slot)
    _require_streaming(context.active_server(settings.name))
    end = _position(arguments.endpos)
    context.start_logging(settings.name)

    def setup(settings: ServerSettings) -> Setup:
        options = wiring.receive_options(settings)
        return Setup(
            wiring.place_of(settings),
            replace(options, end_position=end, patient=arguments.supervised),
        )

    def reread() -> Setup:
        fresh = context.reread().server(settings.name)
        _require_same_place(settings, fresh)
        context.start_logging(settings.name)
        return setup(fresh)

    first = setup(settings)
    succession = Succession(first, reread)
    # By hand a new repository is what was asked for, by a supervisor it may be a disk that is not mounted.
    unless_slot = settings.slot_name if arguments.supervised else None
    with (
        calling(succession.stop, succession.renew),
        _telling_how_to_stop(settings),
        reserved(first.place, first.options.conninfo, unless_slot) as repository,
    ):
        # Under the lock: a receiver is stopped by the mark first, then by a signal to the lock's holder.
        if not arguments.supervised:
            clear_stopped(settings.home)
        if read_active_model(settings.home) != settings.active_model:
            succession.renew()  # switched after the configuration was read, when there was nobody to tell
        if not is_stopped(settings.home):
            if settings.slot_name is None:
                log.warning("without slot_name the server may remove WAL before it is received: set one")
            succession.run(repository)
            _say_how_far(settings.home)
    return 0


@contextmanager
def _telling_how_to_stop(settings: ServerSettings) -> Iterator[None]:
    """The remedy where the lock that we need is that of another receiver."""
    try:
        yield
    except Busy as error:
        if receiver_holder(settings.home) is None:
            raise
        raise Busy(error.message, f"end it with: walstream receive-wal {settings.name} --stop") from None


def _say_how_far(home: str) -> None:
    state = read_receiver_state(home)
    if state is not None and state.pid == os.getpid() and state.timeline:
        log.info(
            "receiving has ended: all WAL up to %s on timeline %d is flushed",
            state.flushed,
            state.timeline,
            extra={"position": state.flushed, "timeline": state.timeline},
        )
    else:
        log.info("receiving has ended, before any WAL came")


def _stop(context: Context, settings: ServerSettings) -> int:
    stopped = stop_receiver(settings.name, settings.repository, settings.home)
    if stopped is None:
        said = f"no receiver of {settings.name!r} was running; run and cron start none"
    else:
        said = f"the receiver of {settings.name!r} (process {stopped}) has ended; run and cron start no other"
    context.output.line(f"{said} until: walstream receive-wal {settings.name}")
    context.output.put(settings.name, {"stopped": True, "process": stopped})
    return 0


def _require_streaming(settings: ServerSettings) -> None:
    if not settings.streaming_archiver:
        raise UsageError(
            f"server {settings.name!r} has streaming_archiver = off", "set it to on to receive its WAL"
        )


def _require_same_place(former: ServerSettings, fresh: ServerSettings) -> None:
    """A running receiver takes any new settings but these."""
    _require_streaming(fresh)
    if (former.repository, former.home) != (fresh.repository, fresh.home):
        raise ConfigurationError(
            f"{former.repository!r} cannot become {fresh.repository!r} while WAL is received into it",
            f"stop and start it: walstream receive-wal {former.name} --stop",
        )


def _change_slot(context: Context, settings: ServerSettings, *, create: bool) -> int:
    if settings.slot_name is None:
        raise UsageError(f"server {settings.name!r} has no slot_name", "set one in its section")
    with wiring.open_streaming(settings) as connection:
        if not create:
            _drop_slot(connection, settings.name, settings.slot_name)
            done = "dropped"
        elif slots.create_slot(connection, settings.slot_name):
            done = "created"
        else:
            done = "there already"
    verb = "is" if done == "there already" else "was"
    context.output.line(f"replication slot {settings.slot_name!r} {verb} {done}")
    context.output.put(settings.name, {"slot_name": settings.slot_name, "slot": done})
    return 0


def _drop_slot(connection: Connection, server: str, name: str) -> None:
    try:
        slots.drop_slot(connection, name)
    except ServerRefused as refusal:
        if refusal.sqlstate != slots.OBJECT_IN_USE:
            raise
        hint = f"end what reads from it first; our own receiver with: walstream receive-wal {server} --stop"
        raise ServerRefused(refusal.message, hint, refusal.sqlstate) from None


def _position(text: str | None) -> LSN | None:
    try:
        return None if text is None else LSN.parse(text)
    except Malformed as error:
        raise UsageError(error.message, error.hint) from None
