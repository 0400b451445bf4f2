"""What commands share that read what is stored: the repository with its keys, and whether all is read again."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from catalog.repository import Repository
from walstream.cli.light import chosen_identities
from walstream.ops.stored import repository_at
from walstream.settings.locate import Places


def add_full_argument(parser: argparse.ArgumentParser) -> None:
    """The option of a verification that believes nothing of an earlier one."""
    parser.add_argument(
        "--full", action="store_true",
        help="read everything again: without it what nobody has written since the last verification is skipped, "
        "and a disk that lost bytes by itself goes unnoticed",
    )  # fmt: skip


def readable_repository(
    places: Places, arguments: argparse.Namespace, ask: Callable[[str], str] | None = None
) -> Repository:
    """The repository, with the identities that the arguments name, or else the configuration."""
    repository = repository_at(places.repository, places.name)
    identities = chosen_identities(arguments.identity_file, arguments.identity_command, places, ask)
    return repository if identities is None else repository.with_identities(identities)
