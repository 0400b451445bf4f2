"""``walstream keygen``: make an identity, which is secret, and print its recipient, which is not."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from catalog.identity import read_identities, write_identity
from walstream.cli.context import Context

EXAMPLE = "walstream keygen ~/walstream-identity"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="where the identity is to be; an existing file is never touched"
    )
    parser.add_argument(
        "-y",
        "--recipients",
        action="store_true",
        help="print the recipients of the identities in an existing file",
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Make a file with mode 0600, or read one; only recipients are printed."""
    output = context.output
    if arguments.recipients:
        found = [str(each.recipient) for each in read_identities(arguments.file, context.ask_secret)]
    else:
        found = [write_identity(arguments.file, datetime.now(UTC).isoformat(timespec="seconds"))]
    for recipient in found:
        output.line(recipient)
    output.put("identity", {"file": arguments.file, "recipients": found})
    if not arguments.recipients:
        output.warning(
            f"without {arguments.file!r} nothing that is encrypted for this recipient can be read, ever",
            "keep a copy where it outlives this host, and keep the file away from the backup host",
        )
    return 0
