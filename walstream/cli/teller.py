"""What one process has to say, said by another: events on a pipe, one line of JSON each.

A ``Teller`` is an output whose words become events; ``retell`` has an ordinary output say what an event means,
with the name of the part of the work that it came from. What is said is data both ways: nothing is run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import TextIO

from catalog.errors import Malformed, WalstreamError
from walstream.cli.output import Output
from walstream.cli.progress import INTERVAL, Progress

MAX_EVENT = 4 << 20


class Teller(Output):
    """An output that tells events to whoever reads ``out``; everything else of an output is as it is."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out, out)

    def line(self, text: str = "") -> None:
        self._tell("line", text)

    def put(self, key: str, facts: object) -> None:
        self._tell("put", key, facts)

    def note(self, text: str) -> None:
        self._tell("note", text)

    def warning(self, text: str, hint: str | None = None) -> None:
        self._tell("warning", text, hint)

    def error(self, error: WalstreamError) -> None:
        self._tell("error", str(error), error.hint)

    def progress(self, label: str, total: int | None = None) -> Progress:
        return _ToldProgress(self._tell)

    def _tell(self, *event: object) -> None:
        print(json.dumps(event), file=self._out, flush=True)


class _ToldProgress(Progress):
    def __init__(self, tell: Callable[..., None]) -> None:
        super().__init__(None, "")
        self._tell = tell

    def update(self, done: int, total: int | None = None) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + INTERVAL
            self._tell("progress", done, total)


class Listener:
    """The events that arrive on a descriptor, cut into lines however they come."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""

    def events(self) -> list[list[object]] | None:
        """What has arrived since; None at the end. ``Malformed`` for what no teller said."""
        piece = os.read(self._fd, 1 << 16)
        if not piece:
            return None
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_EVENT:
            raise Malformed(f"an event has more than {MAX_EVENT} bytes")
        return [_event(line) for line in lines]


def retell(event: list[object], name: str, output: Output) -> None:
    """Say an event through ``output``; notes, warnings and errors begin with the name of their part."""
    match event:
        case ["line", str(text)]:
            output.line(text)
        case ["put", str(key), facts]:
            output.put(key, facts)
        case ["note", str(text)]:
            output.note(f"{name}: {text}")
        case ["warning", str(text), None | str() as hint]:
            output.warning(f"{name}: {text}", hint)
        case ["error", str(text), None | str() as hint]:
            output.error(WalstreamError(f"{name}: {text}", hint))
        case _:
            raise Malformed(f"an event that no teller tells: {str(event)[:200]}")


def _event(line: bytes) -> list[object]:
    try:
        event: object = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, list):
        raise Malformed(f"not an event: {line[:200]!r}")
    return event
