"""Configuration files → ``Configuration``: every line checked, every value typed.

A wrong line breaks its server and no other; one in the global section breaks all. Nothing is
ignored: an option is honoured, known to make no difference, or an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from catalog.active_model import read_active_model
from catalog.errors import ConfigurationError, WalstreamError
from walstream.settings import options
from walstream.settings.checking import checked, line_problem
from walstream.settings.fates import FATES
from walstream.settings.ini import Document, Section
from walstream.settings.levels import resolved_level
from walstream.settings.locate import (
    GLOBAL_SECTIONS,
    check_server_name,
    find_file,
    read_document,
    server_names,
)
from walstream.settings.lookup import Lookup
from walstream.settings.models import Model, cluster_of, lost_model, model_for, models_of
from walstream.settings.occupied import occupant
from walstream.settings.options import GLOBAL, SERVER, Option
from walstream.settings.server import Configuration, GlobalSettings, ServerSettings

T = TypeVar("T")
ActiveModel = Callable[[str], str | None]


def load(
    config: str | None = None,
    environ: Mapping[str, str] = os.environ,
    active_model: ActiveModel = read_active_model,
) -> Configuration:
    """Read the configuration; raises ``ConfigurationError`` only if there is no file to read.

    ``active_model`` says by a server's home which model is in force there.
    """
    file = find_file(config, environ)
    document = read_document(file)
    _refuse_occupied(document, file)
    return configured(document, file, active_model)


def setting(
    server: str, option: Option[T], config: str | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[T, ConfigurationError | None]:
    """One value, for a command that no mistake in the configuration is to stop; and what is wrong with its line.

    With a wrong line, or none, it is the default; a model has no say. A server with ``/`` in it is the path of its
    repository directory; then nothing is read.
    """
    if "/" in server:
        return option.default, None
    document = read_document(find_file(config, environ))
    own = [document.sections[server]] if server in document.sections else []
    lookup = Lookup(own, _shared(document))
    found = lookup.found(option)
    if found is None:
        return option.default, None
    section, line = found
    return lookup.get(option), line_problem(line, section.name, option.scope)


def configured(document: Document, file: str, active_model: ActiveModel = lambda home: None) -> Configuration:
    """What a document says; never raises."""
    shared = _shared(document)
    problems = list(document.problems)
    for section in shared:
        problems += checked(section, GLOBAL)
    top = Lookup((), shared)
    home = _home(top)
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
        metrics_listen=top.get(options.METRICS_LISTEN),
    )
    servers: dict[str, ServerSettings] = {}
    broken: dict[str, list[ConfigurationError]] = {}
    lookups: dict[str, Lookup] = {}
    models = models_of(document)
    for name in server_names(document):
        section = document.sections[name]
        errors = [*problems, *_server_problems(section)]
        model = _model_in_force(section, home, models, active_model, errors)
        own = [section] if model is None else [document.sections[model], section]
        lookups[name] = Lookup(own, shared)
        server = None if errors else _server(lookups[name], home or "", model, errors)
        if server is None or errors:
            broken[name] = errors
        else:
            servers[name] = server
    return Configuration(file, settings, servers, broken, problems, models, lookups)


def _shared(document: Document) -> list[Section]:
    return [document.sections[name] for name in GLOBAL_SECTIONS if name in document.sections]


def _home(top: Lookup) -> str | None:
    return top.get(options.WALSTREAM_HOME) or top.get(options.BARMAN_HOME)


def _refuse_occupied(document: Document, file: str) -> None:
    """Note as a problem of all servers that their home is Barman's, or a cluster's data directory."""
    top = Lookup((), _shared(document))
    home = _home(top)
    found = occupant(home, server_names(document)) if home is not None else None
    if home is None or found is None:
        return
    line = top.line(options.WALSTREAM_HOME) or top.line(options.BARMAN_HOME)
    place = line.place if line is not None else file
    owner, mark = found
    document.problems.append(
        ConfigurationError(
            f"{place}: {home!r} is {owner} (it holds {mark!r}), where walstream writes nothing",
            "give it an empty directory of its own: walstream_home = … in the section [walstream]",
        )
    )


def _model_in_force(
    section: Section,
    home: str | None,
    models: Mapping[str, Model],
    active_model: ActiveModel,
    errors: list[ConfigurationError],
) -> str | None:
    """The model that is in force for a server; what is wrong with it is added to ``errors``."""
    if home is None or errors:
        return None
    try:
        name = active_model(os.path.join(home, section.name))
    except WalstreamError as error:
        hint = error.hint or "let this user read it: it says which model is in force"
        errors.append(ConfigurationError(error.message, hint))
        return None
    if name is None:
        return None
    try:
        model = model_for(section.name, cluster_of(section), name, models)
    except ConfigurationError as error:
        errors.append(lost_model(section.name, name, error))
        return None
    errors += model.errors
    return name


def _server_problems(section: Section) -> list[ConfigurationError]:
    problems = []
    try:
        check_server_name(section.name)
    except ConfigurationError as error:
        problems.append(
            ConfigurationError(f"{section.source}: section [{section.name}]: {error}", error.hint)
        )
    problems += checked(section, SERVER)
    if section.find(options.CONNINFO.name) is None:
        problems.append(
            ConfigurationError(
                f"{section.source}: 'conninfo' is not set in [{section.name}]",
                "add a line such as: conninfo = host=db.example.com user=walstream dbname=postgres",
            )
        )
    return problems


def _server(
    lookup: Lookup, home: str, model: str | None, errors: list[ConfigurationError]
) -> ServerSettings | None:
    section, get = lookup.own[-1], lookup.get
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
        cluster=cluster_of(section),
        active_model=model,
        conninfo=conninfo,
        streaming_conninfo=streaming,
        wal_streaming_conninfo=get(options.WAL_STREAMING_CONNINFO) or streaming,
        primary_conninfo=get(options.PRIMARY_CONNINFO),
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
        encryption_recipients=_recipients(lookup, errors),
        encryption_identity_file=get(options.ENCRYPTION_IDENTITY_FILE),
        encryption_identity_command=get(options.ENCRYPTION_IDENTITY_COMMAND),
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
        place = line.place if line is not None else lookup.own[-1].source
        about = f"'{level.name}' does not fit '{codec.name} = {name}' in [{lookup.own[-1].name}]"
        errors.append(ConfigurationError(f"{place}: {about}", f"accepted: {error}"))
        return 0


def _recipients(lookup: Lookup, errors: list[ConfigurationError]) -> tuple[str, ...]:
    """For whom is encrypted; nobody where encryption is off."""
    if lookup.get(options.ENCRYPTION) == "none":
        return ()
    recipients = lookup.get(options.ENCRYPTION_RECIPIENTS) or ()
    if not recipients:
        line = lookup.line(options.ENCRYPTION)
        place = line.place if line is not None else lookup.sections[0].source
        errors.append(
            ConfigurationError(
                f"{place}: 'encryption = age' in [{lookup.sections[0].name}] needs 'encryption_recipients'",
                "'walstream keygen FILE' makes an identity, away from this host, and prints its recipient",
            )
        )
    return recipients


def _not_needed(sections: Sequence[Section]) -> tuple[str, ...]:
    names = {line.option for section in sections for line in section.lines}
    return tuple(sorted(name for name in names if name in FATES and FATES[name].needless))
