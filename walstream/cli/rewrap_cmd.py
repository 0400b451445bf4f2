"""``walstream rewrap``: new recipients for backups and WAL that are encrypted already."""

from __future__ import annotations

import argparse

from catalog.errors import IdentityError, UsageError
from catalog.units import counted, size
from walstream.cli.context import Context
from walstream.cli.light import add_identity_arguments, chosen_identities
from walstream.cli.output import Output
from walstream.cli.signals import raising
from walstream.ops.local import stored_repository
from walstream.ops.rewrap import Rewrapped, rewrap

NAMED = 3  # files for each reason
EXAMPLE = "walstream rewrap main --identity-file ~/walstream-identity"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a server of the configuration")
    parser.add_argument(
        "--recipient", metavar="RECIPIENT", action="append", default=[],
        help="who is to be able to read them (may be repeated; default: encryption_recipients)",
    )  # fmt: skip
    add_identity_arguments(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Give all encrypted files a new header; ``IdentityError`` when some cannot be opened, and stay as they are."""
    settings, output = context.server(arguments.server), context.output
    recipients = list(dict.fromkeys(arguments.recipient or settings.encryption_recipients))
    if not recipients:
        raise UsageError(
            f"nobody to encrypt for: server {settings.name!r} has no encryption_recipients",
            "set them in its section, or name them with --recipient",
        )
    identities = chosen_identities(
        arguments.identity_file,
        arguments.identity_command,
        context.places(arguments.server),
        context.ask_secret,
    )
    if identities is None:
        raise UsageError("rewrap needs an identity that opens the files", "give one: --identity-file")
    repository = stored_repository(settings).with_identities(identities)
    identities.all()  # what is wrong with them is said at once
    with raising():
        done = rewrap(repository, settings.name, recipients)
    output.put(settings.name, _facts(done, recipients))
    files, readers = counted(done.files, "file"), counted(len(recipients), "recipient")
    output.line(f"{files} ({size(done.nbytes)}) can be read by {readers} now")
    _warn(output, done)
    if done.refused:
        untried = (
            f", of which {done.untried} were not tried: the first ones did not open" if done.untried else ""
        )
        raise IdentityError(
            f"as they were before: {counted(len(done.refused) + done.untried, 'file')}{untried}",
            "repeat it with an identity file that holds all old and new identities",
        )
    return 0


def _warn(output: Output, done: Rewrapped) -> None:
    """Why files stay as they were: each reason once, with some of the files."""
    reasons: dict[tuple[str, str | None], list[str]] = {}
    for key, error in sorted(done.refused, key=lambda each: each[0]):
        reasons.setdefault((str(error).removeprefix(f"{key!r}: "), error.hint), []).append(key)
    for (reason, hint), keys in reasons.items():
        more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        output.warning(f"not rewrapped: {', '.join(keys[:NAMED])}{more}: {reason}", hint)


def _facts(done: Rewrapped, recipients: list[str]) -> dict[str, object]:
    return {
        "files": done.files,
        "bytes": done.nbytes,
        "recipients": recipients,
        "untried": done.untried,
        "refused": {key: str(error) for key, error in done.refused},
    }
