"""``walstream get-wal``: one WAL file out of the repository. Light: see ``walstream.cli``.

Exit code 0 delivered, 1 truly absent, 255 everything else.
"""

from __future__ import annotations

import os

from backup.fetch import WalSource, copy_wal, deliver_wal
from catalog import durable
from catalog.errors import Absent
from walstream.cli import say
from walstream.cli.light import IDENTITY_VALUES, add_identity_arguments, identities_of, parse
from walstream.settings.locate import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

EXAMPLE = "walstream get-wal main 00000001000000000000002A -o /tmp/00000001000000000000002A"
ABSENT = 1

_FLAGS = {"-P": "partial", "--partial": "partial"}
_VALUES = {"-o": "output", "--output": "output", **IDENTITY_VALUES}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "server", metavar="S", help="a server's name, or the path of its repository directory"
    )
    parser.add_argument("wal", metavar="WAL", help="the name of a segment or history file")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of to standard output")
    parser.add_argument(
        "-P", "--partial", action="store_true", help="also hand out a segment that is not yet complete"
    )
    add_identity_arguments(parser)


def light_main(arguments: list[str]) -> int:
    """Deliver one WAL file; anything that is raised here means 255."""
    given = parse(arguments, _FLAGS, _VALUES, ("S", "WAL"))
    server, name = given.rest
    found, problems = places(server, given.values.get("config"))
    for problem in problems:
        say(f"walstream: warning: {problem}")
    source = WalSource(
        found.repository, found.home, partial="partial" in given.flags, identities=identities_of(given, found)
    )
    system_identifier = source.identity().system_identifier
    output = given.values.get("output")
    try:
        if output is None:
            copy_wal(source, name, lambda piece: durable.write_all(1, piece), system_identifier)
        else:
            if os.path.isdir(output):
                output = os.path.join(output, name)
            deliver_wal(source, name, output, system_identifier)
            durable.sync_file(output)
            durable.sync_directory(os.path.dirname(os.path.abspath(output)))
    except Absent as absent:
        say(f"walstream: {absent}")
        return ABSENT
    return 0
