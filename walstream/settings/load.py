"""Configuration files → ``Configuration``: every line checked, every value typed.

A wrong line breaks its server and no other; one in the global section breaks all. Nothing is
ignored: an option is honoured, known to make no difference, or an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeVar

from catalog.errors import ConfigurationError
from walstream.settings import options
from walstream.settings.fates import FATES, NOT_YET
from walstream.settings.ini import Document, Line, Section
from walstream.settings.levels import resolved_level
from walstream.settings.locate import (
    GLOBAL_SECTIONS,
    check_server_name,
    find_file,
    is_unset,
    read_document,
    server_names,
    shown,
)
from walstream.settings.nearest import suggestion
from walstream.settings.options import GLOBAL, OPTIONS, SERVER, Option
from walstream.settings.server import Configuration, GlobalSettings, ServerSettings

T = TypeVar("T")


def load(config: str | None = None, environ: Mapping[str, str] = os.environ) -> Configuration:
    """Read the configuration; raises ``ConfigurationError`` only if there is no file to read."""
    file = find_file(config, environ)
    return configured(read_document(file), file)


def setting(
    server: str, option: Option[T], config: str | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[T, ConfigurationError | None]:
    """One value, for a command that no mistake in the configuration is to stop; and what is wrong with its line.

    With a wrong line, or none, it is the default. A server with ``/`` in it is the path of its repository
    directory; then nothing is read.
    """
    if "/" in server:
        return option.default, None
    document = read_document(find_file(config, environ))
    names = [name for name in (server, *GLOBAL_SECTIONS) if name in document.sections]
    lookup = Lookup([document.sections[name] for name in names])
    line = lookup.line(option)
    if line is None:
        return option.default, None
    where = next(name for name in names if line in document.sections[name].lines)
    return lookup.get(option), _line_problem(line, where, option.scope)


def configured(document: Document, file: str) -> Configuration:
    """What a document says; never raises."""
    shared = [document.sections[name] for name in GLOBAL_SECTIONS if name in document.sections]
    problems = list(document.problems)
    for section in shared:
        problems += checked(section, GLOBAL)
    top = Lookup(shared)
    home = top.get(options.WALSTREAM_HOME) or top.get(options.BARMAN_HOME)
    if home is None and not problems:
        problems.append(
            ConfigurationError(f"{file}: 'walstream_home' is not set", "add it to the section [walstream]")
        )
    settings = GlobalSettings(
        source_file=file,
        walstream_home=home,
        repository=top.get(options.REPOSITORY),
        log_level=top.get(options.LOG_LEVEL),
        log_file=top.get(options.LOG_FILE),
        log_format=top.get(options.LOG_FORMAT),
    )
    servers: dict[str, ServerSettings] = {}
    broken: dict[str, list[ConfigurationError]] = {}
    descriptions: dict[str, str] = {}
    for name in server_names(document):
        lookup = Lookup([document.sections[name], *shared])
        errors = [*problems, *_server_problems(document.sections[name])]
        server = None if errors else _server(lookup, home or "", errors)
        if server is None or errors:
            broken[name] = errors
            descriptions[name] = lookup.get(options.DESCRIPTION) or ""
        else:
            servers[name] = server
    return Configuration(file, settings, servers, broken, problems, descriptions)


class Lookup:
    """Values from sections, nearest first; an option that may not be inherited comes from the first."""

    def __init__(self, sections: list[Section]) -> None:
        self.sections = sections

    def line(self, option: Option[object]) -> Line | None:
        """The line that counts for ``option``."""
        for section in self.sections:
            inherited = section is not self.sections[0]
            if not (inherited and option.scope == SERVER) and (line := section.find(option.name)) is not None:
                return line
        return None

    def get(self, option: Option[T]) -> T:
        """The value that counts, or the default; a wrong line, which ``checked`` reports, is passed over."""
        line = self.line(option)
        if line is None or unsets(line.value, option):
            return option.default
        try:
            return option.kind.parse(line.value)
        except ValueError:
            return option.default


def unsets(value: str, option: Option[object]) -> bool:
    """Whether ``value`` leaves ``option`` without one; ``None`` is a codec's name before it is that."""
    return value == "" or (is_unset(value) and "none" not in option.kind.accepted.split(", "))


def checked(section: Section, scope: str) -> list[ConfigurationError]:
    """What is wrong with the lines of a section, each by itself."""
    problems = list(section.problems)
    for line in section.lines:
        if line.option not in section.doubtful:
            problem = _line_problem(line, section.name, scope)
            if problem is not None:
                problems.append(problem)
    return problems


def _line_problem(line: Line, section: str, scope: str) -> ConfigurationError | None:
    about = f"{line.place}: '{line.option}' in [{section}]"
    option, fate = OPTIONS.get(line.option), FATES.get(line.option)
    if option is None and fate is None:
        known = [*OPTIONS, *FATES]
        hint = suggestion(line.option, known) or "the options are listed in docs/configuration.md"
        return ConfigurationError(f"{about} is not an option", hint)
    if scope not in (option.scope if option is not None else fate.scope if fate is not None else ""):
        where = "the section of a server" if scope == GLOBAL else "the section [walstream]"
        return ConfigurationError(f"{about} does not belong there", f"it belongs in {where}")
    if fate is not None:
        return _fate_problem(line, section, about)
    return _value_problem(line, option, about) if option is not None else None


def _fate_problem(line: Line, section: str, about: str) -> ConfigurationError | None:
    fate = FATES[line.option]
    if is_unset(line.value) or fate.accepts(line.value, section):
        return None
    accepted = f"accepted is only: {', '.join(fate.accepted)}" if fate.accepted else "remove the line"
    if fate.why == NOT_YET:
        return ConfigurationError(f"{about} {NOT_YET}", accepted)
    return ConfigurationError(f"{about} is an option of Barman that walstream refuses: {fate.why}", accepted)


def _value_problem(line: Line, option: Option[object], about: str) -> ConfigurationError | None:
    if unsets(line.value, option):
        return None
    try:
        option.kind.parse(line.value)
    except ValueError as error:
        text = "this value" if option.kind.secret else shown(line.value)
        more = f": {error}" if str(error) else ""
        return ConfigurationError(f"{about} cannot be {text}{more}", f"accepted: {option.kind.accepted}")
    return None


def _server_problems(section: Section) -> list[ConfigurationError]:
    problems = []
    try:
        check_server_name(section.name)
    except ConfigurationError as error:
        problems.append(
            ConfigurationError(f"{section.source}: section [{section.name}]: {error}", error.hint)
        )
    problems += checked(section, SERVER)
    if section.find(options.CONNINFO.name) is None and section.find("model") is None:
        problems.append(
            ConfigurationError(
                f"{section.source}: 'conninfo' is not set in [{section.name}]",
                "add a line such as: conninfo = host=db.example.com user=walstream dbname=postgres",
            )
        )
    return problems


def _server(lookup: Lookup, home: str, errors: list[ConfigurationError]) -> ServerSettings | None:
    section, get = lookup.sections[0], lookup.get
    conninfo = get(options.CONNINFO)
    if conninfo is None:
        errors.append(ConfigurationError(f"{section.source}: 'conninfo' in [{section.name}] is empty"))
        return None
    streaming = get(options.STREAMING_CONNINFO) or conninfo
    return ServerSettings(
        name=section.name,
        source_file=section.source,
        repository=os.path.join(get(options.REPOSITORY) or home, section.name),
        home=os.path.join(home, section.name),
        description=get(options.DESCRIPTION),
        active=get(options.ACTIVE),
        conninfo=conninfo,
        streaming_conninfo=streaming,
        wal_streaming_conninfo=get(options.WAL_STREAMING_CONNINFO) or streaming,
        streaming_archiver=get(options.STREAMING_ARCHIVER),
        archiver=get(options.ARCHIVER),
        slot_name=get(options.SLOT_NAME),
        create_slot=get(options.CREATE_SLOT),
        report_applied=get(options.REPORT_APPLIED),
        streaming_archiver_name=get(options.STREAMING_ARCHIVER_NAME),
        synchronous=get(options.SYNCHRONOUS),
        flush_interval=get(options.FLUSH_INTERVAL),
        unsynced_limit=get(options.UNSYNCED_LIMIT),
        spool_limit=get(options.SPOOL_LIMIT),
        status_interval=get(options.STATUS_INTERVAL),
        compression=get(options.COMPRESSION),
        compression_level=_level(lookup, options.COMPRESSION, options.COMPRESSION_LEVEL, errors),
        backup_method=get(options.BACKUP_METHOD),
        streaming_backup_name=get(options.STREAMING_BACKUP_NAME),
        backup_compression=get(options.BACKUP_COMPRESSION),
        backup_compression_level=_level(
            lookup, options.BACKUP_COMPRESSION, options.BACKUP_COMPRESSION_LEVEL, errors
        ),
        immediate_checkpoint=get(options.IMMEDIATE_CHECKPOINT),
        bandwidth_limit=get(options.BANDWIDTH_LIMIT),
        basebackup_retry_times=get(options.BASEBACKUP_RETRY_TIMES),
        basebackup_retry_sleep=get(options.BASEBACKUP_RETRY_SLEEP),
        backup_schedule=get(options.BACKUP_SCHEDULE),
        retention_policy=get(options.RETENTION_POLICY),
        minimum_redundancy=get(options.MINIMUM_REDUNDANCY),
        recovery_options=get(options.RECOVERY_OPTIONS),
        restore_ssh_command=get(options.RESTORE_SSH_COMMAND),
        staging_path=get(options.STAGING_PATH),
        prefetch_segments=get(options.PREFETCH_SEGMENTS),
        last_backup_maximum_age=get(options.LAST_BACKUP_MAXIMUM_AGE),
        last_backup_minimum_size=get(options.LAST_BACKUP_MINIMUM_SIZE),
        last_wal_maximum_age=get(options.LAST_WAL_MAXIMUM_AGE),
        max_incoming_wals_queue=get(options.MAX_INCOMING_WALS_QUEUE),
        scripts={
            option.name.removesuffix("_script"): command
            for option in options.SCRIPTS
            if (command := lookup.get(option))
        },
        hook_timeout=get(options.HOOK_TIMEOUT),
        check_timeout=get(options.CHECK_TIMEOUT),
        not_needed=_not_needed(lookup.sections),
    )


def _level(
    lookup: Lookup, codec: Option[str], level: Option[int | str | None], errors: list[ConfigurationError]
) -> int:
    name = lookup.get(codec)
    try:
        return resolved_level(name, lookup.get(level))
    except ValueError as error:
        line = lookup.line(level)
        place = line.place if line is not None else lookup.sections[0].source
        about = f"'{level.name}' does not fit '{codec.name} = {name}' in [{lookup.sections[0].name}]"
        errors.append(ConfigurationError(f"{place}: {about}", f"accepted: {error}"))
        return 0


def _not_needed(sections: list[Section]) -> tuple[str, ...]:
    names = {line.option for section in sections for line in section.lines}
    return tuple(sorted(name for name in names if name in FATES and FATES[name].needless))
