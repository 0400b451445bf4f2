"""``walstream bench``: measure what a server, this host and its disk can do, and what limits them."""

from __future__ import annotations

import argparse
import os

from catalog import durable
from catalog.errors import UsageError
from catalog.local_storage import failed
from catalog.units import size
from walstream.cli.bench_text import facts, label, lines_of_latencies, lines_of_rates, plot
from walstream.cli.context import Context
from walstream.cli.numbers import seconds
from walstream.cli.output import Output
from walstream.cli.signals import raising
from walstream.ops.bench import BenchRequest, bench
from walstream.ops.bench_measures import COMMIT, Findings

EXAMPLE = "walstream bench main --seconds 5 --svg bench.svg"
SECONDS, MOST_SECONDS = 3.0, 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a server of the configuration")
    parser.add_argument(
        "--seconds",
        metavar="SECONDS",
        type=_seconds,
        default=SECONDS,
        help=f"measure each figure for so long ({SECONDS:g})",
    )
    parser.add_argument(
        "--commits",
        action="store_true",
        help="measure commits, too: writes small messages into the server's WAL, and to no table",
    )
    parser.add_argument(
        "--load",
        action="store_true",
        help="have the server write 128 MiB of WAL first that mean nothing, to measure with",
    )
    parser.add_argument(
        "--directory", metavar="DIR", help="measure the disk of this directory (default: the spool's)"
    )
    parser.add_argument(
        "--pg-receivewal", metavar="FILE", help="the program to compare with (default: from PATH)"
    )
    parser.add_argument("--svg", metavar="FILE", help="write a plot as well")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Measure one server; on SIGINT and SIGTERM nothing is left, neither there nor here."""
    settings, output = context.server(arguments.server), context.output
    _refuse_what_cannot_be(arguments)
    request = BenchRequest(
        seconds=arguments.seconds,
        commits=arguments.commits,
        load=arguments.load,
        directory=arguments.directory,
        pg_receivewal=arguments.pg_receivewal,
    )
    with raising():
        findings = bench(settings, request, lambda name: output.note(f"{label(name)} …"))
    if arguments.svg is not None:
        _write(arguments.svg, plot(settings.name, findings))
    output.put(settings.name, facts(findings))
    _show(output, findings)
    return 0


def _show(output: Output, findings: Findings) -> None:
    if findings.rates:
        output.line(f"measured with {size(findings.nbytes)} of the server's WAL, again and again")
        headers = ["WAL", "per second", "cores busy", "in all"]
        output.table(headers, lines_of_rates(findings), right=frozenset({1, 2, 3}))
        output.line()
    if findings.latencies:
        headers = ["time of a", "median", "99 %", "times"]
        output.table(headers, lines_of_latencies(findings), right=frozenset({1, 2, 3}))
        output.line()
    if COMMIT in findings.latencies:
        shown = ", ".join(f"{name} = '{value}'" for name, value in findings.settings.items())
        output.line(f"commits with {shown}")
    for name, reason in findings.skipped.items():
        output.line(f"not measured: {label(name)}: {reason}")
    output.line(findings.limit)


def _refuse_what_cannot_be(arguments: argparse.Namespace) -> None:
    program, plot_file = arguments.pg_receivewal, arguments.svg
    if program is not None and not (os.path.isfile(program) and os.access(program, os.X_OK)):
        raise UsageError(f"not a program: {program!r}", "give the path of pg_receivewal")
    if plot_file is None:
        return
    directory = os.path.dirname(plot_file) or "."
    if os.path.isdir(plot_file) or not os.path.isdir(directory) or not os.access(directory, os.W_OK):
        raise UsageError(
            f"the plot cannot be written to {plot_file!r}",
            "give the path of a file in a directory that exists and may be written to",
        )


def _write(path: str, document: str) -> None:
    try:
        durable.write_file(path, document.encode())
    except OSError as error:
        raise failed("write", path, error) from error


def _seconds(text: str) -> float:
    found = seconds(text, MOST_SECONDS)
    if found == 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds above 0 and at most {MOST_SECONDS:g}"
        )
    return found
