"""Which configuration file, which files it includes, and where a server keeps its things.

``places`` answers from the two or three lines it needs and returns what is wrong with the rest as
warnings, so that a slip elsewhere never stops a recovery. On the path of ``get-wal``.
"""

from __future__ import annotations

import os

from catalog.errors import ConfigurationError
from walstream.settings.ini import Document, Line, Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "WALSTREAM_CONFIG_FILE"
STANDARD_FILES = ("~/.walstream.conf", "/etc/walstream.conf")
GLOBAL_SECTIONS = ("walstream", "barman")
RESERVED = ("all", *GLOBAL_SECTIONS)
ON = ("on", "true", "yes", "1", "t", "y")
INCLUDES = "configuration_files_directory"

_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


class Places:
    """Where a server keeps its things.

    ``repository`` and ``home`` are the server's own directories; ``source_file`` is the file that
    names the server, empty when the server was given as a path. ``identity_file`` and ``identity_command`` say
    where the identity is that opens what is encrypted.
    """

    __slots__ = ("home", "identity_command", "identity_file", "name", "repository", "source_file")

    def __init__(
        self,
        name: str,
        repository: str,
        home: str,
        source_file: str,
        identity_file: str | None = None,
        identity_command: str | None = None,
    ) -> None:
        self.identity_file = identity_file
        self.identity_command = identity_command
        self.name = name
        self.repository = repository
        self.home = home
        self.source_file = source_file


def places(
    server: str, config: str | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[Places, list[ConfigurationError]]:
    """Where ``server`` keeps its things, and what is wrong with the configuration beside that.

    A server with ``/`` in it is the path of its repository directory; then nothing is read.
    ``ConfigurationError`` only if the answer cannot be given.
    """
    if "/" in server:
        path = os.path.abspath(os.path.expanduser(server))
        return Places(os.path.basename(path), path, path, ""), []
    file = find_file(config, environ)
    document = read_document(file)
    section = document.sections.get(server)
    if section is None or server in RESERVED or is_model(section):
        raise unknown_server(server, server_names(document), file)
    check_server_name(server)
    root = _path_of(document, "walstream_home") or _path_of(document, "barman_home")
    repository = _path_of(document, "repository", server) or root
    if repository is None:
        raise ConfigurationError(f"{file}: 'walstream_home' is not set", "add it to the section [walstream]")
    home = os.path.join(root or repository, server)
    warnings = [problem for part in document.sections.values() for problem in part.problems]
    found = Places(
        server,
        os.path.join(repository, server),
        home,
        section.source,
        _path_of(document, "encryption_identity_file", server),
        _text_at(document, "encryption_identity_command", server),
    )
    return found, document.problems + warnings


def find_file(config: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The configuration file to read: the one given, the environment's, or the first standard one."""
    given = config or environ.get(VARIABLE)
    if given:
        return os.path.abspath(os.path.expanduser(given))
    for candidate in STANDARD_FILES:
        path = os.path.expanduser(candidate)
        if os.path.exists(path):
            return path
    raise ConfigurationError(
        "there is no configuration file: neither " + " nor ".join(STANDARD_FILES),
        "name one with -c, or make one with: walstream init NAME CONNINFO",
    )


def read_document(file: str) -> Document:
    """Read ``file`` and the files it includes, sorted by name.

    ``ConfigurationError`` if ``file`` itself cannot be read; all else is in the document's problems.
    """
    document = Document()
    try:
        document.read(_text_of(file), file)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"cannot read {file}: {error.strerror}",
            "name another file with -c, or make this one with: walstream init NAME CONNINFO",
        )
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}", "name another file with -c")
    line = _global_line(document, INCLUDES)
    if line is not None and line.value:
        _read_includes(document, line, file)
    return document


def _read_includes(document: Document, line: Line, file: str) -> None:
    directory = os.path.join(os.path.dirname(file), os.path.expanduser(line.value))
    path = directory
    try:
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if name.endswith(".conf") and not os.path.samefile(path, file):
                document.read(_text_of(path), path)
    except OSError as error:
        document.problems.append(
            ConfigurationError(f"{line.place}: '{INCLUDES}': cannot read {path}: {error.strerror}")
        )
    for section in document.sections.values():
        for other in section.lines:
            if other.option == INCLUDES and other.source != file:
                section.problems.append(
                    ConfigurationError(f"{other.place}: an included file cannot include others")
                )


def _text_of(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def _global_line(document: Document, option: str) -> Line | None:
    for name in GLOBAL_SECTIONS:
        section = document.sections.get(name)
        line = section.find(option) if section is not None else None
        if line is not None:
            return line
    return None


def _path_of(document: Document, option: str, server: str | None = None) -> str | None:
    for name in (server, *GLOBAL_SECTIONS):
        section = document.sections.get(name) if name is not None else None
        line = section.find(option) if section is not None else None
        if section is None or line is None:
            continue
        if option in section.doubtful:
            raise section.doubtful[option]
        try:
            return None if is_unset(line.value) else absolute_path(line.value)
        except ValueError as error:
            raise ConfigurationError(f"{line.place}: '{option}' cannot be {shown(line.value)}: {error}")
    return None


def _text_at(document: Document, option: str, server: str) -> str | None:
    for name in (server, *GLOBAL_SECTIONS):
        section = document.sections.get(name)
        line = section.find(option) if section is not None else None
        if line is not None:
            return None if is_unset(line.value) else line.value
    return None


def shown(value: str) -> str:
    """A value for a message: a URI may hold a password, so it is never quoted."""
    return "this value" if "://" in value else repr(value)


def is_unset(value: str) -> bool:
    """Whether a value says, as in Barman, that the option has none: empty, or ``None``."""
    return value in ("", "None")


def absolute_path(text: str) -> str:
    """An absolute path, ``~`` expanded; ``ValueError`` says what is wrong with any other text."""
    if "://" in text:
        raise ValueError("a URL is not supported yet")
    path = os.path.expanduser(text)
    if not path.startswith("/"):
        raise ValueError("it is not an absolute path")
    return os.path.normpath(path)


def server_names(document: Document) -> list[str]:
    """The sections that are servers, in the order of the files."""
    sections = document.sections
    return [name for name in sections if name not in GLOBAL_SECTIONS and not is_model(sections[name])]


def model_names(document: Document) -> list[str]:
    """The sections that are models, in the order of the files."""
    return [name for name, section in document.sections.items() if is_model(section)]


def is_model(section: Section) -> bool:
    """Whether a section says that it is a model."""
    line = section.find("model")
    return section.name not in GLOBAL_SECTIONS and line is not None and line.value.lower() in ON


def check_server_name(name: str) -> None:
    """``ConfigurationError`` if a server cannot be called that; names become directories."""
    if name in RESERVED:
        raise ConfigurationError(f"a server cannot be called '{name}'", f"reserved are {', '.join(RESERVED)}")
    if not name or not _NAME_CHARACTERS.issuperset(name) or name[0] in "._-":
        raise ConfigurationError(
            f"a server cannot be called {name!r}",
            "a name is made of letters, digits, '_', '.' and '-', and begins with a letter or digit",
        )


def unknown_server(name: str, known: list[str], file: str) -> ConfigurationError:
    """The error for a server that the configuration does not have."""
    # Only here, and not on the way of a recovery: difflib costs as much as all the rest.
    from walstream.settings.nearest import suggestion

    listed = (
        f"it has {', '.join(known[:20])}"
        if known
        else "it has none; add one with: walstream init NAME CONNINFO"
    )
    return ConfigurationError(f"{file} has no server {name!r}", suggestion(name, known) or listed)
