"""``walstream check``: every item OK or FAILED, with the remedy."""

from __future__ import annotations

import argparse

from catalog.errors import WalstreamError, one_line
from walstream.cli import nagios
from walstream.cli.context import Context
from walstream.cli.output import Output
from walstream.ops.check import Report, broken, check_all, with_models
from walstream.ops.items import Item

EXAMPLE = "walstream check all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="SERVER", nargs="+", help="names of servers, or all")
    parser.add_argument(
        "--nagios", action="store_true",
        help="one line with performance data; 0 OK, 1 warning, 2 critical, 3 unknown",
    )  # fmt: skip


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Check the servers; 1 if anything failed, 2 if a section of the configuration is wrong."""
    if arguments.nagios:
        return _for_nagios(context, arguments.servers)
    reports, broken_ones = _check(context, arguments.servers)
    for report in reports:
        show(context.output, report)
    return 2 if broken_ones else int(not all(report.ok for report in reports))


def _for_nagios(context: Context, servers: list[str]) -> int:
    try:
        reports, _ = _check(context, servers)
    except WalstreamError as error:
        context.output.line(nagios.unknown(one_line(error)))
        return nagios.UNKNOWN
    context.output.line(nagios.line(reports))
    return nagios.state_of(reports)


def _check(context: Context, servers: list[str]) -> tuple[list[Report], bool]:
    """The reports in order, and whether a section of the configuration is wrong."""
    configuration = context.configuration
    names = context.server_names(servers)
    for name in names:
        if name not in configuration.broken:
            configuration.server(name)
    sound = [configuration.server(name) for name in names if name not in configuration.broken]
    reports = {
        settings.name: with_models(report, configuration.models_of(settings.cluster))
        for settings, report in zip(sound, check_all(sound), strict=True)
    }
    wrong = {name: broken(name, configuration.broken[name]) for name in names if name in configuration.broken}
    return [(reports | wrong)[name] for name in names], bool(wrong)


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
