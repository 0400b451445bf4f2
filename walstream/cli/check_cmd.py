"""``walstream check``: every item OK or FAILED, with the remedy."""

from __future__ import annotations

import argparse

from walstream.cli.context import Context
from walstream.cli.output import Output
from walstream.ops.check import Report, broken, check
from walstream.ops.items import Item

EXAMPLE = "walstream check all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="SERVER", nargs="+", help="names of servers, or all")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Check the servers; 1 if anything failed, 2 if a section of the configuration is wrong."""
    configuration = context.configuration
    names = context.server_names(arguments.servers)
    for name in names:
        if name not in configuration.broken:
            configuration.server(name)
    code = 0
    for name in names:
        if name in configuration.broken:
            report, code = broken(name, configuration.broken[name]), 2
        else:
            report = check(configuration.server(name))
            code = code or int(not report.ok)
        show(context.output, report)
    return code


def show(output: Output, report: Report) -> None:
    """Print a report."""
    output.put(report.server, {item.key: _facts(item) for item in report.items})
    output.line(f"Server {report.server}{'' if report.active else ' (inactive)'}:")
    for item in report.items:
        show_item(output, item)


def show_item(output: Output, item: Item) -> None:
    """Print one item, and its remedy below it."""
    status = output.paint(item.status, "green" if item.ok else "red")
    output.line(f"\t{item.label}: {status}" + (f" ({item.hint})" if item.hint else ""))
    if item.remedy:
        output.line(f"\t  remedy: {item.remedy}")


def _facts(item: Item) -> dict[str, str]:
    facts = {"status": item.status, "hint": item.hint}
    return facts | {"remedy": item.remedy} if item.remedy else facts
