"""``walstream receive-wal``: stream WAL in the foreground."""

from __future__ import annotations

import argparse
from dataclasses import replace

from catalog.errors import Malformed, UsageError
from catalog.lsn import LSN
from walstream import slots
from walstream.cli.context import Context
from walstream.cli.signals import calling
from walstream.ops import wiring
from walstream.settings.server import ServerSettings

EXAMPLE = "walstream receive-wal main"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="S", help="the server's name in the configuration")
    parser.add_argument("--endpos", metavar="LSN", help="stop once everything before this position is synced")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--create-slot", action="store_true", help="create the replication slot, and end")
    action.add_argument("--drop-slot", action="store_true", help="drop the replication slot, and end")


def run(context: Context, arguments: argparse.Namespace) -> int:
    settings = context.server(arguments.server)
    if arguments.create_slot or arguments.drop_slot:
        return _change_slot(context, settings, create=arguments.create_slot)
    if not settings.streaming_archiver:
        raise UsageError(
            f"server {settings.name!r} has streaming_archiver = off", "set it to on to receive its WAL"
        )
    context.start_logging()
    options = replace(wiring.receive_options(settings), end_position=_position(arguments.endpos))
    with wiring.running_receiver(settings, options) as (receiver, _), calling(receiver.stop):
        receiver.run()
    return 0


def _change_slot(context: Context, settings: ServerSettings, *, create: bool) -> int:
    if settings.slot_name is None:
        raise UsageError(f"server {settings.name!r} has no slot_name", "set one in its section")
    with wiring.open_streaming(settings) as connection:
        if not create:
            slots.drop_slot(connection, settings.slot_name)
            done = "dropped"
        elif slots.create_slot(connection, settings.slot_name):
            done = "created"
        else:
            done = "there already"
    context.output.line(f"replication slot {settings.slot_name!r} {done}")
    context.output.put(settings.name, {"slot_name": settings.slot_name, "slot": done})
    return 0


def _position(text: str | None) -> LSN | None:
    try:
        return None if text is None else LSN.parse(text)
    except Malformed as error:
        raise UsageError(error.message, error.hint) from None
