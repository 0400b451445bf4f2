"""``walstream status``: the server, the receiver, the slot, and what can be recovered."""

from __future__ import annotations

import argparse
import time

from catalog.errors import WalstreamError
from walstream.cli.context import Context
from walstream.cli.status_entries import Entry, catalog_entries, configured_entries, server_entries
from walstream.cli.status_receiving import receiving_entries
from walstream.cli.status_slot import slot_entries
from walstream.cli.status_stored import stored_entries
from walstream.ops.status_facts import ServerStatus, local_status

EXAMPLE = "walstream status main"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="SERVER", nargs="+", help="names, paths of repositories, or 'all'")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Show each server; what is wrong with one does not keep the others from it.

    1 for a server of which nothing is known: it does not answer, and there is no repository.
    """
    code = 0
    for given in context.server_names(arguments.servers):
        try:
            found = _ask(context, given)
        except WalstreamError as error:
            context.output.error(error)
            code = max(code, error.exit_code)
        else:
            code = max(code, _show(context, found))
    return code


def _ask(context: Context, given: str) -> ServerStatus:
    if "/" in given:
        places = context.places(given)
        return local_status(places.name, places.repository, places.home)
    settings = context.server(given)
    # A repository alone is looked at without psycopg, which is loaded by this import.
    from walstream.ops.status import status

    return status(settings)


def _show(context: Context, found: ServerStatus) -> int:
    output, entries = context.output, all_entries(found, time.time())
    output.put(found.name, {each.key: each.as_json() for each in entries})
    output.line(f"Server {found.name}:")
    for entry in entries:
        output.line(f"\t{entry.description}: {entry.message}")
        for detail in entry.details:
            output.line(f"\t  {detail}")
    for error in found.errors:
        if found.is_known:
            output.warning(f"{found.name}: {error.message}", error.hint)
        else:
            output.error(error)
    for problem in found.stored.problems if found.stored is not None else ():
        output.warning(problem)
    return 0 if found.is_known else 1


def all_entries(found: ServerStatus, now: float) -> list[Entry]:
    """All that is said of a server, in order."""
    return [
        *configured_entries(found),
        *server_entries(found),
        *catalog_entries(found),
        *receiving_entries(found, now),
        *slot_entries(found),
        *stored_entries(found),
    ]
