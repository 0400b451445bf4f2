"""What cron has said of each server, so that a problem is a mail when it begins, and not each minute.

It is in ``.rounds/said.json`` beside the servers' directories; without it everything is said. A problem that
differs only in its numbers (a process, a length of time) is the same one. One that lasts is said again each day.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from catalog import durable

AGAIN = 86400.0

_NUMBER = re.compile(r"\d+")


class LastSaid:
    """Of the servers whose directories are in ``walstream_home``."""

    def __init__(self, walstream_home: str) -> None:
        self._path = os.path.join(walstream_home, ".rounds", "said.json")

    def news(self, found: Mapping[str, Sequence[str]], now: float) -> tuple[list[tuple[str, str]], list[str]]:
        """What is new of the problems ``found`` of each server that was looked at, and which have no more.

        ``now`` is Unix time. What is returned counts as said.
        """
        known = self._read()
        news: list[tuple[str, str]] = []
        over = [name for name, problems in found.items() if not problems and known.get(name)]
        for name, problems in found.items():
            before, said = known.get(name, {}), dict[str, float]()
            for problem in problems:
                key = _NUMBER.sub("#", problem)
                since = before.get(key)
                is_old = since is not None and now - AGAIN < since <= now
                said[key] = since if is_old and since is not None else now
                news += [] if is_old else [(name, problem)]
            known[name] = said
        self._write({name: said for name, said in known.items() if said})
        return news, over

    def _read(self) -> dict[str, dict[str, float]]:
        try:
            with open(self._path, encoding="utf-8") as file:
                found = json.load(file)
            return {
                str(name): {str(key): float(at) for key, at in said.items()} for name, said in found.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return {}

    def _write(self, known: Mapping[str, Mapping[str, float]]) -> None:
        temporary = f"{self._path}.{os.getpid()}"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), durable.FILE_MODE)
                json.dump(known, file)
            os.rename(temporary, self._path)
        except OSError:  # then all of it is said once more
            with suppress(OSError):
                durable.remove_if_present(temporary)
