"""The only printer. Results go to standard output, everything else to standard error.

With JSON wanted, facts are collected with ``put`` and one document is written by ``close``; errors and
warnings are also in it, under ``_ERROR`` and ``_WARNING``. Then ``line`` and ``table`` show nothing,
and without JSON ``put`` shows nothing, so that a command may call both.

A command that logs has its errors in the log as well, and there alone where standard error is a log in JSON. One
that a supervisor has started leaves them to that, which reads the document, and logs them only if nobody reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from typing import TextIO

from catalog.errors import WalstreamError, one_line
from walstream.cli.progress import Progress
from walstream.cli.units import table

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1"}


class Output:
    """Where a command's words go."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        as_json: bool = False,
        quiet: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._out = out
        self._err = err
        self._is_dumb = environ.get("TERM") == "dumb"
        self._plain = self._is_dumb or bool(environ.get("NO_COLOR"))
        self._document: dict[str, object] = {}
        self._messages: dict[str, list[str]] = {}
        self._progress: Progress | None = None
        self._log: Callable[[str], None] | None = None
        self._log_only = self._log_too = self._left_to_parent = False
        for stream in (out, err):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    def configure(self, *, as_json: bool, quiet: bool) -> None:
        """Change what was guessed before the arguments were understood."""
        self.as_json = as_json
        self.quiet = quiet

    def log_errors(self, log: Callable[[str], None], *, too: bool, only: bool) -> None:
        """Have a log for errors, one line each: ``too`` beside standard error, ``only`` in its place.

        With neither it is for those alone that were left to a parent that is gone.
        """
        self._log, self._log_too, self._log_only = log, too, only

    def leave_to_parent(self) -> None:
        """Leave errors and warnings to the process that reads the document."""
        self._left_to_parent = True

    def line(self, text: str = "") -> None:
        """A line of the result."""
        if not self.as_json and not self.quiet:
            self._clear_progress()
            print(text, file=self._out)

    def table(
        self, headers: list[str], rows: list[list[str]], *, right: frozenset[int] = frozenset()
    ) -> None:
        """A table of the result; columns in ``right`` are aligned to the right."""
        for text in table(headers, rows, right):
            self.line(text)

    def put(self, key: str, facts: object) -> None:
        """One entry of the JSON document, usually a server's name and what is known of it."""
        self._document[key] = facts

    def note(self, text: str) -> None:
        """Something worth knowing that is not the result."""
        if not self.quiet and not self._left_to_parent:
            self._complain(text)

    def warning(self, text: str, hint: str | None = None) -> None:
        """Something that is wrong and does not keep the command from its work."""
        self._messages.setdefault("_WARNING", []).append(text)
        if not self.quiet and not self._left_to_parent:
            self._complain(*(f"{self._paint_err('warning:', 'yellow')} {line}" for line in text.split("\n")))
            self._hint(hint)

    def error(self, error: WalstreamError) -> None:
        """What the command failed with."""
        lines = str(error).split("\n")
        if self._left_to_parent:
            self._messages.setdefault("_ERROR", []).append(one_line(error))
            return
        self._messages.setdefault("_ERROR", []).extend(lines)
        if self._log is not None and (self._log_too or self._log_only):
            self._log(one_line(error))
        if self._log_only:
            return
        self._complain(*(f"{self._paint_err('walstream: error:', 'red')} {line}" for line in lines))
        self._hint(error.hint)

    def progress(self, label: str, total: int | None = None) -> Progress:
        """A progress line for work of ``total`` bytes, shown only on a terminal that can take a line back."""
        shown = self._err.isatty() and not self.quiet and not self._is_dumb
        self._progress = Progress(self._err if shown else None, label, total)
        return self._progress

    def paint(self, text: str, colour: str) -> str:
        """``text`` in a colour (red, green, yellow, bold), if standard output is a terminal."""
        return self._painted(self._out, text, colour)

    @property
    def on_terminal(self) -> bool:
        """Whether a person is likely to read the result as it comes."""
        return self._out.isatty()

    def close(self) -> None:
        """Write the JSON document, if one is wanted."""
        self._clear_progress()
        if not self.as_json or self.quiet:
            return
        document = json.dumps(self._document | self._messages, indent=2, sort_keys=True)
        try:
            print(document, file=self._out, flush=self._left_to_parent)
        except BrokenPipeError:
            if self._left_to_parent and self._log is not None:
                for text in self._messages.get("_ERROR", []):
                    self._log(text)
            raise

    def _hint(self, hint: str | None) -> None:
        if hint:
            self._complain(f"hint: {hint}")

    def _complain(self, *lines: str) -> None:
        self._clear_progress()
        for line in lines:
            print(line, file=self._err, flush=True)

    def _clear_progress(self) -> None:
        if self._progress is not None:
            self._progress.clear()

    def _paint_err(self, text: str, colour: str) -> str:
        return self._painted(self._err, text, colour)

    def _painted(self, stream: TextIO, text: str, colour: str) -> str:
        if self._plain or not stream.isatty():
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"
