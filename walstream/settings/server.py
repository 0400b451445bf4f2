"""Settings as frozen values: one for the whole installation, one per server, and the two together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.errors import ConfigurationError
from catalog.retention import RetentionPolicy
from walstream.settings.conninfo import Conninfo
from walstream.settings.listen import Listen
from walstream.settings.locate import unknown_server
from walstream.settings.lookup import Lookup
from walstream.settings.models import Model
from walstream.settings.options import DESCRIPTION
from walstream.settings.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalSettings:
    """What the global section says."""

    source_file: str
    walstream_home: str | None
    repository: str | None
    log_level: str
    log_file: str | None
    log_format: str
    metrics_listen: Listen | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What holds for one server. Times are seconds, sizes bytes, ``bandwidth_limit`` kB/s.

    ``repository`` and ``home`` are the server's own directories. ``active_model`` is the model in force.
    ``not_needed`` names the options that are accepted because they change nothing. ``scripts`` has shell commands
    by name: ``pre_backup``. Without ``encryption_recipients`` nothing is encrypted.
    """

    name: str
    source_file: str
    repository: str
    home: str
    description: str | None
    active: bool
    cluster: str
    active_model: str | None

    conninfo: Conninfo
    streaming_conninfo: Conninfo
    wal_streaming_conninfo: Conninfo
    primary_conninfo: Conninfo | None

    streaming_archiver: bool
    archiver: bool
    slot_name: str | None
    create_slot: str
    report_applied: bool
    streaming_archiver_name: str
    synchronous: str
    flush_interval: float
    unsynced_limit: int
    spool_limit: int | None
    status_interval: float
    compression: str
    compression_level: int

    backup_method: str
    streaming_backup_name: str
    backup_compression: str
    backup_compression_level: int
    immediate_checkpoint: bool
    bandwidth_limit: int | None
    basebackup_retry_times: int
    basebackup_retry_sleep: float

    backup_schedule: Schedule | None
    encryption_recipients: tuple[str, ...]
    encryption_identity_file: str | None
    encryption_identity_command: str | None
    retention_policy: RetentionPolicy | None
    minimum_redundancy: int

    recovery_options: str
    restore_ssh_command: str | None
    staging_path: str | None
    prefetch_segments: int
    last_backup_maximum_age: float | None
    last_backup_minimum_size: int | None
    last_wal_maximum_age: float | None
    max_incoming_wals_queue: int | None
    scripts: Mapping[str, str]
    hook_timeout: float
    check_timeout: float
    not_needed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that the files say. Each server is in ``servers``, or in ``broken`` with its errors.

    An error of the global section counts for every server; ``problems`` has those apart. One in a model is only
    the model's while that is not in force. ``lookups`` say by server where each value comes from.
    """

    file: str
    globals: GlobalSettings
    servers: Mapping[str, ServerSettings]
    broken: Mapping[str, Sequence[ConfigurationError]]
    problems: Sequence[ConfigurationError]
    models: Mapping[str, Model]
    lookups: Mapping[str, Lookup]

    @property
    def names(self) -> list[str]:
        """The names of all servers, broken ones too, sorted."""
        return sorted((*self.servers, *self.broken))

    def every_name(self) -> list[str]:
        """What ``all`` stands for; ``ConfigurationError`` if that is no server, so that nothing passes for done."""
        if not self.names:
            raise joined([*self.errors, no_server(self.file)])
        return self.names

    @property
    def errors(self) -> list[ConfigurationError]:
        """All that is wrong, each error once."""
        owned = [*self.broken.values(), *(model.errors for model in self.models.values())]
        found = [*self.problems, *(error for errors in owned for error in errors)]
        return list({str(error): error for error in found}.values())

    def models_of(self, cluster: str) -> list[Model]:
        """The models that the servers of a cluster can be switched to."""
        return [model for model in self.models.values() if model.cluster == cluster]

    def description(self, name: str) -> str:
        """What the file says of a server, also of a broken one."""
        return self.lookups[name].get(DESCRIPTION) or ""

    def server(self, name: str) -> ServerSettings:
        """The settings of a server; ``ConfigurationError`` if it is broken or not there."""
        if name in self.servers:
            return self.servers[name]
        if name in self.broken:
            raise joined(self.broken[name])
        if name in self.models:
            raise ConfigurationError(
                f"{name!r} is a model, not a server", f"its cluster: {self.models[name].cluster}"
            )
        if self.problems:
            raise joined(self.problems)  # a section that could not be read is missing for a reason
        raise unknown_server(name, self.names, self.file)


def no_server(file: str) -> ConfigurationError:
    """The error for ``all`` where there is none."""
    return ConfigurationError(f"no server in {file}", "add one with: walstream init NAME CONNINFO")


def joined(errors: Sequence[ConfigurationError]) -> ConfigurationError:
    """Several errors as one to raise: a line for each, with its hint."""
    if len(errors) == 1:
        return errors[0]
    lines = [f"{error}; {error.hint}" if error.hint else str(error) for error in errors]
    return ConfigurationError("\n".join(lines), "correct these lines")
