"""``walstream list-servers``: the servers of the configuration, broken ones too."""

from __future__ import annotations

import argparse

from walstream.cli.context import Context
from walstream.settings.server import Configuration, joined

EXAMPLE = "walstream list-servers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minimal", action="store_true", help="show names only")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """List the servers; 2 if the configuration has errors, which are shown once each."""
    configuration, output = context.configuration, context.output
    for name in configuration.names:
        description, mark = _about(configuration, name)
        output.put(name, {"description": description})
        shown = f" - {description}" if description else ""
        output.line(name if arguments.minimal else f"{name}{shown}{mark}")
    errors = {str(error): error for error in configuration.problems}
    for broken in configuration.broken.values():
        errors |= {str(error): error for error in broken}
    if errors:
        output.error(joined(list(errors.values())))
    return 2 if errors else 0


def _about(configuration: Configuration, name: str) -> tuple[str, str]:
    server = configuration.servers.get(name)
    if server is None:
        return configuration.descriptions[name], " (WARNING: disabled)"
    return server.description or "", "" if server.active else " (inactive)"
