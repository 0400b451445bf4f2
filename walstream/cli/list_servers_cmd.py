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
        description = configuration.description(name)
        output.put(name, _facts(configuration, name))
        shown = f" - {description}" if description else ""
        output.line(name if arguments.minimal else f"{name}{shown}{_mark(configuration, name)}")
    if configuration.errors:
        output.error(joined(configuration.errors))
    return 2 if configuration.errors else 0


def _facts(configuration: Configuration, name: str) -> dict[str, object]:
    server = configuration.servers.get(name)
    model = {"active_model": server.active_model} if server is not None and server.active_model else {}
    return {"description": configuration.description(name), **model}


def _mark(configuration: Configuration, name: str) -> str:
    server = configuration.servers.get(name)
    if server is None:
        return " (WARNING: disabled)"
    model = f" (model: {server.active_model})" if server.active_model else ""
    return model if server.active else f"{model} (inactive)"
