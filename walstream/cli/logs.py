"""Where log messages go, and their form: one line for each event. Imported only by commands that log.

Text is ``2026-01-31 12:00:00.123 server: message``, in local time; JSON is one object per line, in UTC. What cannot
be written to the log file goes to standard error; a log that fails keeps nobody from his work.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from catalog.errors import StorageError
from walstream.cli.output import Output
from walstream.ops.server_log import ROOT as SERVERS

ROOT = "walstream"

# What a message is about, where whoever logs it says so: ``extra={"segment": …}``.
SUBJECTS = ("timeline", "position", "segment", "backup", "seconds")


def set_up(level: str, file: str | None, form: str, server: str | None = None) -> None:
    """Send what is logged to ``file``, or to standard error; ``form`` is ``text`` or ``json``.

    All lines of a process that works for one ``server`` bear its name. The file may be moved away by a log
    rotation. Calling again replaces what was set up before.
    """
    try:
        handler = _File(file) if file else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise StorageError(
            f"cannot write to the log {file}: {error.strerror}", "set 'log_file' to another path"
        )
    handler.setFormatter(JsonLines(server) if form == "json" else TextLines(server))
    _replace_handlers(handler, level)
    logging.raiseExceptions = False  # a full disk below the log is no reason for a traceback per line
    threading.excepthook = _log_end_of_thread


@contextmanager
def said_through(output: Callable[[], Output]) -> Iterator[None]:
    """In the block, the course of a command, what is wrong is one of its warnings, unless it sets up a log."""
    root = logging.getLogger(ROOT)
    former, level, propagate = list(root.handlers), root.level, root.propagate
    root.handlers.clear()
    _replace_handlers(_Warnings(output), "WARNING")
    try:
        yield
    finally:
        for handler in list(root.handlers):
            root.removeHandler(handler)
            handler.close()
        root.handlers[:], root.propagate = former, propagate
        root.setLevel(level)


def error_log(text: str) -> None:
    """Log what a command has failed with."""
    logging.getLogger(f"{ROOT}.command").error("%s", text)


def _replace_handlers(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger(ROOT)
    for former in list(root.handlers):
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:
        name = ended.thread.name if ended.thread is not None else "a thread"
        error = ended.exc_value
        logging.getLogger(f"{ROOT}.command").error(
            "internal error in %s: %s: %s", name, type(error).__name__, error, exc_info=error
        )


class _File(logging.handlers.WatchedFileHandler):
    """A log file that is opened anew when it was moved away; while it cannot be, standard error serves."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def close(self) -> None:
        try:
            super().close()
        except OSError:
            pass  # what it could not write before it cannot write now

    def handleError(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except (OSError, ValueError):
            pass  # there is nobody left to tell


class _Warnings(logging.Handler):
    def __init__(self, output: Callable[[], Output]) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        server = _server(record)
        self._output().warning(f"{server}: {record.getMessage()}" if server else record.getMessage())


class _Lines(logging.Formatter):
    def __init__(self, server: str | None = None) -> None:
        super().__init__()
        self._name = server

    def server(self, record: logging.LogRecord) -> str | None:
        """The server that a line is about; None for what is about none, or all."""
        return self._name or _server(record)


class TextLines(_Lines):
    """``time server: message``, with the level in between when it is not the ordinary one.

    The part of the program that speaks stands for the server where there is none.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).isoformat(" ", "milliseconds")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        who = self.server(record) or _part(record)
        message = "; ".join(record.getMessage().splitlines())
        return f"{moment} {who}: {level}{message}{_where(record)}"


class JsonLines(_Lines):
    """One JSON object per line: time, level, server or part of the program, message, and what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        server = self.server(record)
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            **({"server": server} if server else {"part": _part(record)}),
            "message": record.getMessage(),
        }
        for subject in SUBJECTS:
            value = getattr(record, subject, None)
            if value is not None:
                fields[subject] = value if isinstance(value, int | float) else str(value)
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _server(record: logging.LogRecord) -> str | None:
    return record.name.removeprefix(SERVERS) if record.name.startswith(SERVERS) else None


def _part(record: logging.LogRecord) -> str:
    return record.name.partition(".")[2] or record.name


def _where(record: logging.LogRecord) -> str:
    """Where an error of our own happened, innermost first, on the same line."""
    if not record.exc_info or record.exc_info[2] is None:
        return ""
    frames = reversed(traceback.extract_tb(record.exc_info[2]))
    places = [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
    return f" [{' < '.join(places)}]"
