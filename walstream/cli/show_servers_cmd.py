"""``walstream show-servers``: all settings of servers, and where each comes from. Asks no server."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

from catalog import layout
from walstream.cli.context import Context
from walstream.cli.output import Output
from walstream.settings.explain import explained, needless
from walstream.settings.lookup import Lookup
from walstream.settings.server import ServerSettings, joined

EXAMPLE = "walstream show-servers main"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show the value that holds for every option, and where it comes from: file and line, the model in force, "
        "or the default. Passwords are masked. What the server itself says is shown by status."
    )
    parser.add_argument("servers", metavar="SERVER", nargs="+", help="names of servers, or all")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Show each server; 2 if the section of one is wrong."""
    configuration, output = context.configuration, context.output
    code = 0
    for name in context.server_names(arguments.servers):
        errors = configuration.broken.get(name)
        if errors is None:
            _show(output, configuration.server(name), configuration.lookups[name])
            continue
        messages = [str(error) for error in errors]
        description = configuration.description(name)
        output.put(name, {"description": description, "disabled": True, "msg_list": messages})
        output.line(f"Server {name} (WARNING: disabled)")
        output.error(joined(errors))
        code = 2
    wrong = [error for model in configuration.models.values() for error in model.errors]
    for error in wrong:
        output.warning(str(error), error.hint)
    return code


def _show(output: Output, settings: ServerSettings, lookup: Lookup) -> None:
    found = explained(settings, lookup)
    places = _places(settings)
    lines = list(needless(lookup))
    facts: dict[str, object] = {each.option: each.value for each in found}
    facts |= {"active_model": settings.active_model, "disabled": False, "passive_node": False, **places}
    facts["sources"] = {each.option: asdict(each.origin) for each in found}
    facts["not_needed"] = {line.option: why for line, why in lines}
    output.put(settings.name, facts)
    output.line(f"Server {settings.name}{'' if settings.active else ' (inactive)'}:")
    output.line(f"\tactive_model: {settings.active_model or '–'}")
    for each in found:
        output.line(f"\t{each.option}: {each.text}  ({each.origin})")
    for option, path in places.items():
        output.line(f"\t{option}: {path}  (fixed)")
    for line, why in lines:
        output.line(f"\t{line.option}: not needed: {why}  ({line.place})")


def _places(settings: ServerSettings) -> dict[str, str]:
    """The directories that Barman has options for; here they follow from ``repository`` and ``walstream_home``."""
    repository, home = settings.repository, settings.home
    return {
        "backup_directory": repository,
        "basebackups_directory": os.path.join(repository, layout.BASE),
        "wals_directory": os.path.join(repository, layout.WALS),
        "incoming_wals_directory": os.path.join(home, layout.INCOMING),
        "streaming_wals_directory": os.path.join(home, layout.STREAMING),
        "errors_directory": os.path.join(home, layout.ERRORS),
    }
