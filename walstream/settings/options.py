"""Every option that walstream honours: name, where it may stand, kind of value, default, meaning.

The one table behind reading, checking and documenting the configuration. Options that are known but
not honoured are in ``fates``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from walstream.settings import values
from walstream.settings.values import SWITCH, Kind, choice, duration, size, whole

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

GLOBAL = "global"
SERVER = "server"
MODEL = "model"
# A model may set what a server may, as in Barman: all but paths and hooks.
OWN = f"{SERVER}, {MODEL}"
BOTH = f"{GLOBAL}, {OWN}"
NO_MODEL = f"{GLOBAL}, {SERVER}"
CODECS = ("none", "gzip", "lz4", "zstd")


@dataclass(frozen=True)
class Option(Generic[T_co]):
    """One option. ``shown`` is the default as the documentation has it."""

    name: str
    scope: str
    kind: Kind[T_co]
    default: T_co
    shown: str
    meaning: str


def _set(name: str, scope: str, kind: Kind[T], default: str, meaning: str) -> Option[T]:
    """An option that always has a value."""
    return Option(name, scope, kind, kind.parse(default), default, meaning)


def _optional(name: str, scope: str, kind: Kind[T], meaning: str, shown: str = "–") -> Option[T | None]:
    """An option that may have no value."""
    return Option(name, scope, kind, None, shown, meaning)


_SECOND = duration(0.01)
_FAST = "zstd 1, gzip 1, lz4 1"

WALSTREAM_HOME = _optional(
    "walstream_home", GLOBAL, values.PATH, "root of local state and, by default, of repositories; required"
)
BARMAN_HOME = _optional(
    "barman_home",
    GLOBAL,
    values.PATH,
    "read in place of walstream_home when that is absent; not with Barman's data in it",
)
REPOSITORY = _optional(
    "repository",
    NO_MODEL,
    values.PATH,
    "root of repositories: a server has the directory of its name in it",
    "walstream_home",
)
CONFIGURATION_FILES_DIRECTORY = _optional(
    "configuration_files_directory",
    GLOBAL,
    values.DIRECTORY,
    "read also all *.conf of this directory, by name",
)
LOG_LEVEL = _set(
    "log_level",
    GLOBAL,
    choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    "INFO",
    "least weight of what is logged",
)
LOG_FILE = _optional("log_file", GLOBAL, values.PATH, "where logs go", "standard error")
LOG_FORMAT = _set(
    "log_format", GLOBAL, choice("text", "json"), "text", "lines for people, or JSON for machines"
)
METRICS_LISTEN = _optional(
    "metrics_listen",
    GLOBAL,
    values.LISTEN,
    "where run serves Prometheus metrics and /healthz, to whoever asks",
)

DESCRIPTION = _optional("description", OWN, values.TEXT, "free text, shown by list-servers")
ACTIVE = _set("active", OWN, SWITCH, "on", "off: nothing is received and backed up; restoring goes on")
CLUSTER = _optional(
    "cluster", OWN, values.TEXT, "the models of that cluster can be switched to", "the server's name"
)
IS_MODEL = _set("model", OWN, SWITCH, "off", "on: the section is a model, for the servers of its cluster")
CONNINFO = _optional("conninfo", OWN, values.CONNINFO, "how to connect for SQL, any libpq string; required")
STREAMING_CONNINFO = _optional(
    "streaming_conninfo", OWN, values.CONNINFO, "how to connect for replication", "conninfo"
)
WAL_STREAMING_CONNINFO = _optional(
    "wal_streaming_conninfo", OWN, values.CONNINFO, "another node to stream WAL from", "streaming_conninfo"
)
PRIMARY_CONNINFO = _optional(
    "primary_conninfo",
    OWN,
    values.CONNINFO,
    "of a standby: its primary, which check looks at, and where switch-wal switches",
)

STREAMING_ARCHIVER = _set("streaming_archiver", BOTH, SWITCH, "on", "receive WAL by streaming")
ARCHIVER = _set("archiver", BOTH, SWITCH, "off", "also accept WAL that an archive_command brings: put-wal")
SLOT_NAME = _optional(
    "slot_name", BOTH, values.SLOT_NAME, "replication slot; without one the server may drop WAL"
)
CREATE_SLOT = _set(
    "create_slot",
    BOTH,
    choice("auto", "manual"),
    "auto",
    "auto: the receiver makes a missing slot when it connects",
)
REPORT_APPLIED = _set(
    "report_applied",
    OWN,
    SWITCH,
    "off",
    "report what is flushed as applied too, for synchronous_commit = remote_apply",
)
STREAMING_ARCHIVER_NAME = _set(
    "streaming_archiver_name",
    BOTH,
    values.APPLICATION_NAME,
    "walstream_receive_wal",
    "the receiver's application name",
)
SYNCHRONOUS = _set(
    "synchronous",
    BOTH,
    choice("auto", "on", "off"),
    "auto",
    "sync and report every batch; auto: when the server waits",
)
FLUSH_INTERVAL = _set("flush_interval", BOTH, _SECOND, "1s", "sync at least this often when not synchronous")
UNSYNCED_LIMIT = _set(
    "unsynced_limit", BOTH, size(1 << 20, 1 << 34), "64MiB", "sync when so much is written and not yet synced"
)
SPOOL_LIMIT = _optional(
    "spool_limit",
    BOTH,
    size(1 << 20, 1 << 60),
    "receive no more while so much waits to be archived: the server keeps it",
)
STATUS_INTERVAL = _set("status_interval", BOTH, _SECOND, "10s", "report to the server at least this often")
COMPRESSION = _set("compression", BOTH, choice(*CODECS), "zstd", "codec of stored WAL")
COMPRESSION_LEVEL = _optional("compression_level", BOTH, values.LEVEL, "its level", _FAST)

BACKUP_METHOD = _set(
    "backup_method",
    BOTH,
    choice("postgres", refused="walstream takes backups over a replication connection only"),
    "postgres",
    "how backups are taken",
)
STREAMING_BACKUP_NAME = _set(
    "streaming_backup_name",
    BOTH,
    values.APPLICATION_NAME,
    "walstream_backup",
    "application name of a base backup",
)
BACKUP_COMPRESSION = _set("backup_compression", BOTH, choice(*CODECS), "zstd", "codec of base backups")
BACKUP_COMPRESSION_LEVEL = _optional("backup_compression_level", BOTH, values.LEVEL, "its level", _FAST)
BACKUP_SCHEDULE = _optional(
    "backup_schedule",
    OWN,
    values.SCHEDULE,
    "when 'walstream run' takes a backup: five fields as in a crontab",
)
IMMEDIATE_CHECKPOINT = _set(
    "immediate_checkpoint", BOTH, SWITCH, "off", "begin backups with a fast checkpoint"
)
BANDWIDTH_LIMIT = _optional(
    "bandwidth_limit", BOTH, whole(32, 1048576, " of kB/s"), "slow base backups down to this"
)
BASEBACKUP_RETRY_TIMES = _set(
    "basebackup_retry_times", BOTH, whole(0, 1000), "0", "repeat a failed base backup so often"
)
BASEBACKUP_RETRY_SLEEP = _set(
    "basebackup_retry_sleep", BOTH, duration(0), "30s", "wait so long before each repetition"
)
ENCRYPTION = _set(
    "encryption", BOTH, choice("none", "age"), "none", "age: encrypt WAL and base backups for the recipients"
)
ENCRYPTION_RECIPIENTS = _optional(
    "encryption_recipients", BOTH, values.RECIPIENTS, "who can read them: each of these, by itself"
)
ENCRYPTION_IDENTITY_FILE = _optional(
    "encryption_identity_file",
    BOTH,
    values.PATH,
    "the identity that opens them, for commands that read; not needed for backups",
)
ENCRYPTION_IDENTITY_COMMAND = _optional(
    "encryption_identity_command",
    BOTH,
    values.TEXT,
    "a command that prints the identity, run without a shell and for at most a minute",
)
RETENTION_POLICY = _optional(
    "retention_policy",
    BOTH,
    values.POLICY,
    "which backups to keep, with the WAL that they need; all others are removed by run, cron and expire",
    "none",
)
MINIMUM_REDUNDANCY = _set(
    "minimum_redundancy",
    BOTH,
    whole(0, 999999),
    "0",
    "so many restorable full backups are kept in any case; check fails while there are fewer",
)
RECOVERY_OPTIONS = _set(
    "recovery_options",
    BOTH,
    choice("get-wal", "no-get-wal"),
    "get-wal",
    "a restored cluster fetches its WAL while it recovers; no-get-wal: restore copies it beforehand",
)
RESTORE_SSH_COMMAND = _optional(
    "restore_ssh_command",
    SERVER,
    values.TEXT,
    "how a cluster restored elsewhere reaches this machine for its WAL: ssh walstream@backup-host",
)
STAGING_PATH = _optional(
    "staging_path",
    BOTH,
    values.PATH,
    "where restore puts an incremental backup together that goes to another machine",
)
PREFETCH_SEGMENTS = _set(
    "prefetch_segments",
    NO_MODEL,
    whole(0, 1024),
    "8",
    "a recovery keeps so many segments decoded ahead, inside its pg_wal; 0: none",
)
LAST_BACKUP_MAXIMUM_AGE = _optional(
    "last_backup_maximum_age", BOTH, values.AGE, "check fails when the newest backup is older"
)
LAST_BACKUP_MINIMUM_SIZE = _optional(
    "last_backup_minimum_size",
    BOTH,
    size(1, 1 << 60),
    "check fails when the newest backup is smaller",
)
LAST_WAL_MAXIMUM_AGE = _optional(
    "last_wal_maximum_age", BOTH, values.AGE, "check fails when no WAL has come for so long"
)
MAX_INCOMING_WALS_QUEUE = _optional(
    "max_incoming_wals_queue",
    BOTH,
    whole(0, 999999),
    "check fails when more files of put-wal wait to be filed",
)
PRE_BACKUP_SCRIPT = _optional(
    "pre_backup_script",
    NO_MODEL,
    values.TEXT,
    "shell command before a backup, which is not done if it fails",
)
POST_BACKUP_SCRIPT = _optional("post_backup_script", NO_MODEL, values.TEXT, "shell command after a backup")
PRE_ARCHIVE_SCRIPT = _optional(
    "pre_archive_script",
    NO_MODEL,
    values.TEXT,
    "shell command before WAL is stored, which is not done if it fails",
)
POST_ARCHIVE_SCRIPT = _optional(
    "post_archive_script", NO_MODEL, values.TEXT, "shell command after WAL is stored"
)
PRE_DELETE_SCRIPT = _optional(
    "pre_delete_script",
    NO_MODEL,
    values.TEXT,
    "shell command before a backup is removed, which is not done if it fails",
)
POST_DELETE_SCRIPT = _optional(
    "post_delete_script", NO_MODEL, values.TEXT, "shell command after a backup is removed"
)
PRE_WAL_DELETE_SCRIPT = _optional(
    "pre_wal_delete_script",
    NO_MODEL,
    values.TEXT,
    "shell command before WAL is removed, which is not done if it fails",
)
POST_WAL_DELETE_SCRIPT = _optional(
    "post_wal_delete_script", NO_MODEL, values.TEXT, "shell command after WAL is removed"
)
PRE_RECOVERY_SCRIPT = _optional(
    "pre_recovery_script",
    NO_MODEL,
    values.TEXT,
    "shell command before a restore, which is not done if it fails",
)
POST_RECOVERY_SCRIPT = _optional(
    "post_recovery_script", NO_MODEL, values.TEXT, "shell command after a restore"
)
HOOK_TIMEOUT = _set("hook_timeout", NO_MODEL, duration(1), "10min", "a script that takes longer is killed")
CHECK_TIMEOUT = _set(
    "check_timeout", BOTH, duration(0), "30s", "check gives up on a server after this; 0: never"
)

# In the order above, which is the order of the documentation.
OPTIONS: dict[str, Option[object]] = {
    option.name: option for option in tuple(globals().values()) if isinstance(option, Option)
}

SCRIPTS = tuple(
    Option(option.name, option.scope, values.TEXT, None, option.shown, option.meaning)
    for option in OPTIONS.values()
    if option.name.endswith("_script")
)
