"""Where log messages go, and their form. Imported only by commands that log.

Text is ``2026-01-31 12:00:00.123 server: message``, in local time; JSON is one object per line, in UTC.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from datetime import UTC, datetime

from catalog.errors import StorageError

ROOT = "walstream"


def logger(server: str) -> logging.Logger:
    """The logger of one server."""
    return logging.getLogger(f"{ROOT}.{server}")


def set_up(level: str, file: str | None, form: str, server: str | None = None) -> None:
    """Send what is logged to ``file``, or to standard error; ``form`` is ``text`` or ``json``.

    All lines of a process that works for one ``server`` bear its name. The file may be moved away by a log
    rotation. Calling again replaces what was set up before.
    """
    try:
        handler = logging.handlers.WatchedFileHandler(file) if file else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise StorageError(
            f"cannot write to the log {file}: {error.strerror}", "set 'log_file' to another path"
        )
    handler.setFormatter(JsonLines(server) if form == "json" else TextLines(server))
    root = logging.getLogger(ROOT)
    for former in list(root.handlers):
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False


class _Lines(logging.Formatter):
    def __init__(self, server: str | None = None) -> None:
        super().__init__()
        self._name = server

    def server(self, record: logging.LogRecord) -> str:
        """The server that a line is about, or the part of the program that speaks."""
        return self._name or record.name.partition(".")[2] or record.name


class TextLines(_Lines):
    """``time server: message``, with the level in between when it is not the ordinary one."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).isoformat(" ", "milliseconds")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = f"{moment} {self.server(record)}: {level}{record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonLines(_Lines):
    """One JSON object per line: time, level, server, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "server": self.server(record),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)
