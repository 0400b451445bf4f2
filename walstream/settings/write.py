"""Adding a server to a configuration file. What is in the file stays as it is, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Mapping

from catalog import durable
from catalog.active_model import read_active_model
from catalog.errors import ConfigurationError
from walstream.settings.ini import Document, unquoted
from walstream.settings.load import configured
from walstream.settings.locate import GLOBAL_SECTIONS, check_server_name, read_document
from walstream.settings.server import ServerSettings, joined

FILE_MODE = 0o600


def add_server(file: str, name: str, lines: Mapping[str, str], walstream_home: str) -> bool:
    """Append ``[name]`` with ``lines`` to ``file``, which is made if missing; durable on return.

    ``walstream_home`` is written only if the file does not set it. False, and nothing written, if
    the section is there with the same conninfo; ``ConfigurationError`` if it is there with another.
    """
    check_server_name(name)
    file = os.path.realpath(file)
    known = read_document(file) if os.path.exists(file) else Document()
    if name in known.sections:
        _compare(known, name, lines, file)
        return False
    existing = _bytes_of(file)
    section, home = _section(name, lines), _section("walstream", {"walstream_home": walstream_home})
    _check(home + section, name, lines)
    added = section if _has_home(known) else home + "\n" + section
    separator = "" if not existing else "\n" if existing.endswith(b"\n") else "\n\n"
    _replace(file, existing + (separator + added).encode())
    return True


def planned_server(
    file: str, name: str, lines: Mapping[str, str], walstream_home: str
) -> tuple[ServerSettings, bool]:
    """The settings that the server would have after ``add_server``, and whether it is new; nothing is written.

    ``ConfigurationError`` for what ``add_server`` would refuse, and for what else is wrong in the file.
    """
    check_server_name(name)
    file = os.path.realpath(file)
    known = read_document(file) if os.path.exists(file) else Document()
    new = name not in known.sections
    if not new:
        _compare(known, name, lines, file)
    else:
        section, home = _section(name, lines), _section("walstream", {"walstream_home": walstream_home})
        _check(home + section, name, lines)
        known.read(section if _has_home(known) else home + section, file)
    return configured(known, file, read_active_model).server(name), new


def _section(name: str, lines: Mapping[str, str]) -> str:
    return f"[{name}]\n" + "".join(f"{option} = {_quoted(value)}\n" for option, value in lines.items())


def _quoted(value: str) -> str:
    return value if value and unquoted(value.strip()) == value else f'"{value}"'


def _check(text: str, name: str, lines: Mapping[str, str]) -> None:
    """Read what would be written: it must say what was asked, and be right by itself."""
    document = Document()
    document.read(text, "what would be written")
    if {line.option: line.value for line in document.sections[name].lines} != dict(lines):
        raise ConfigurationError(
            f"the settings of '{name}' cannot be written to a file", "remove line breaks"
        )
    configuration = configured(document, "what would be written")
    if name in configuration.broken:
        raise joined(configuration.broken[name])


def _compare(known: Document, name: str, lines: Mapping[str, str], file: str) -> None:
    section = known.sections[name]
    line = section.find("conninfo")
    if line is None or line.value != lines.get("conninfo"):
        place = line.place if line is not None else file
        raise ConfigurationError(
            f"{place}: server '{name}' is already there with another conninfo",
            "choose another name, or change that line by hand",
        )


def _has_home(document: Document) -> bool:
    sections = [document.sections[name] for name in GLOBAL_SECTIONS if name in document.sections]
    return any(section.find(home) for section in sections for home in ("walstream_home", "barman_home"))


def _bytes_of(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except FileNotFoundError:
        return b""


def _replace(file: str, content: bytes) -> None:
    """Put ``content`` in the file's place, with the owner and mode that it has."""
    if not os.path.exists(file):
        durable.make_directories(os.path.dirname(file))
        durable.write_file(file, content, FILE_MODE)
        return
    status = os.stat(file)
    durable.write_file(file, content, FILE_MODE)
    if os.geteuid() == 0:
        os.chown(file, status.st_uid, status.st_gid)
    os.chmod(file, status.st_mode & 0o777)
