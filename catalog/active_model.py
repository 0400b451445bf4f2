"""Which model is in force for a server: ``state/active-model``, one line with its name.

Kept durably, because it is the word of whoever failed over; every reading of the configuration asks for it.
"""

from __future__ import annotations

import os

from catalog import durable, layout
from catalog.errors import ConfigurationError
from catalog.local_storage import failed

_FILE = "active-model"
_MOST = 1000


def read_active_model(home: str) -> str | None:
    """The name of the model, None when none is active; ``ConfigurationError`` when that cannot be told."""
    path = _path(home)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            name = file.read(_MOST).removesuffix("\n")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise failed("read", path, error) from error
    if not name or not name.isprintable():
        raise ConfigurationError(
            f"{path} does not hold the name of a model",
            "choose one again: walstream config-switch SERVER MODEL; or none, with --reset",
        )
    return name


def write_active_model(home: str, name: str) -> None:
    """Let that model be in force; durable on return. The state directory is there already."""
    try:
        durable.write_file(_path(home), f"{name}\n".encode())
    except OSError as error:
        raise failed("write", _path(home), error) from error


def clear_active_model(home: str) -> bool:
    """Let no model be in force, durably; whether there was one."""
    try:
        durable.remove(_path(home))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise failed("remove", _path(home), error) from error
    return True


def _path(home: str) -> str:
    return os.path.join(home, layout.STATE, _FILE)
