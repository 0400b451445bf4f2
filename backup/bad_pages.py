"""Bad page checksums, as the server tells of them while it sends a base backup: warnings in, files and counts out.

A warning for each bad page, five at most per file, then one with the file's total, and at the end one with the
total of all (``basebackup.c``, 13 to 18). A server that speaks another language names the files all the same;
then a file counts as one page, because the numbers cannot be told apart. Bounded: a dying disk has many files.
"""

from __future__ import annotations

import re

from catalog.record import BadFile

MAX_FILES = 100
MAX_NAME = 1024

_PAGE = re.compile(r'(?:checksum verification failed in|could not verify checksum in) file "(.*)", block \d+')
_FILE = re.compile(r'file "(.*)" has a total of (\d+) checksum verification failures?')
_ALL = re.compile(r"(\d+) total checksum verification failures?")
# In whatever quotes a language has.
_RELATION = r"(?:\./)?(?:base/\d+|global|pg_tblspc/\d+/\w+/\d+)/\d+[.\w]*"
_ANY = re.compile(rf"[\"»«„“”‘']\s*({_RELATION})\s*[\"»«„“”’']")


class BadPages:
    """Collects what the warnings of one backup say."""

    def __init__(self) -> None:
        self._pages: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._total = 0

    def note(self, warning: str) -> None:
        """One warning of the server, whatever it is about."""
        if match := _FILE.fullmatch(warning):
            self._add(self._totals, match[1], int(match[2]))
        elif match := _ALL.fullmatch(warning):
            self._total = int(match[1])
        elif match := _PAGE.match(warning):
            name = _plain(match[1])
            self._add(self._pages, name, self._pages.get(name, 0) + 1)
        elif match := _ANY.search(warning):
            self._add(self._pages, match[1], 1)

    @property
    def files(self) -> tuple[BadFile, ...]:
        """The files, by name, with the pages of each; the first ``MAX_FILES`` that were told of."""
        pages = self._pages | self._totals
        return tuple(BadFile(name, pages[name]) for name in sorted(pages))

    @property
    def total(self) -> int:
        """The bad pages of all files, those that are not named included."""
        return max(self._total, sum(each.pages for each in self.files))

    def _add(self, counts: dict[str, int], name: str, count: int) -> None:
        name = _plain(name)
        known = self._pages.keys() | self._totals.keys()
        if name in known or len(known) < MAX_FILES:
            counts[name] = count


def _plain(name: str) -> str:
    return name.removeprefix("./")[:MAX_NAME]
