"""Every option that is known but not honoured: what it may be set to, and what there is instead.

*Not needed* are options of Barman that say what walstream does anyway, or that steer a program it
does not use; they are accepted, with the listed values or with any. *Refused* is all the rest, and
each names the way out.
"""

from __future__ import annotations

from dataclasses import dataclass

from walstream.settings.options import BOTH, GLOBAL, NO_MODEL, OWN, SERVER
from walstream.settings.values import OFF

ANY = ("any",)


@dataclass(frozen=True, slots=True)
class Fate:
    """One option that is not honoured: ``accepted`` values do no harm, ``why`` says what else to do."""

    name: str
    scope: str
    accepted: tuple[str, ...]
    why: str

    @property
    def needless(self) -> bool:
        """Whether it is one of those that are not needed, rather than refused."""
        return bool(self.accepted)

    def accepts(self, value: str) -> bool:
        """Whether the option may be set to ``value``."""
        return (
            self.accepted == ANY or value == "" or value.lower() in [word.lower() for word in self.accepted]
        )


def _fate(names: str, why: str, *accepted: str, scope: str = BOTH) -> list[Fate]:
    return [Fate(name, scope, accepted, why) for name in names.split()]


_STREAMED = "backups and WAL come over replication connections, without programs of PostgreSQL, ssh or rsync"
_HOOKS = ("backup", "archive", "delete", "wal_delete", "recovery")
_ONCE = "a script runs once: use the option without 'retry', and let the script itself try again"
_REPOSITORY = "set 'repository': where things are inside of it is fixed"
_CLOUD = "object storage is not supported yet; set 'repository' to a local path"
_SNAPSHOTS = "snapshots are not taken; use backup_method = postgres"
_PASSIVE = "there are no passive servers; copy the repository, whose files never change"
_CUSTOM = "use 'compression', with one of none, gzip, lz4, zstd"
_IN_PLACE = "incremental backups are laid down in place at restore; remove the line"
_GPG = "gpg is not used; see encryption = age and encryption_recipients"
_THREADS = "compression uses the threads that it needs; remove the line"

_OPTIONS_OF_BACKUPS = (
    "concurrent_backup",
    "external_configuration",
    "concurrent_backup, external_configuration",
    "concurrent_backup,external_configuration",
)

_BARMAN = [
    *_fate("barman_user", "walstream runs as the user who starts it", *ANY, scope=GLOBAL),
    *_fate("barman_lock_directory", "locks live beside what they protect", *ANY, scope=GLOBAL),
    *_fate("lock_directory_cleanup", "locks end with their process", *ANY, scope=GLOBAL),
    *_fate("config_changes_queue", "there is no config-update; edit the file", *ANY, scope=GLOBAL),
    *_fate("path_prefix ssh_command keepalive_interval parallel_jobs", _STREAMED, *ANY),
    *_fate("parallel_jobs_start_batch_size parallel_jobs_start_batch_period", _STREAMED, *ANY),
    *_fate("streaming_archiver_batch_size archiver_batch_size", "segments are stored as they complete", *ANY),
    *_fate("autogenerate_manifest", "every backup has a manifest", *ANY),
    *_fate("backup_options", "it is always so", *_OPTIONS_OF_BACKUPS),
    *_fate(" ".join(f"{when}_{what}_retry_script" for what in _HOOKS for when in ("pre", "post")), _ONCE),
    *_fate("retention_policy_mode", "it is always so", "auto"),
    *_fate("wal_retention_policy", "WAL is kept as long as a backup needs it", "main"),
    *_fate("backup_compression_format", "backups are stored as tar", "tar"),
    *_fate("backup_compression_location", "compression runs on the backup host", "client"),
    *_fate("backup_compression_workers", _THREADS, "0"),
    *_fate("reuse_backup", "use incremental backups of PostgreSQL 17 and later", *OFF),
    *_fate("network_compression", _STREAMED, *OFF),
    *_fate("forward_config_path", _PASSIVE, *OFF),
    *_fate("primary_checkpoint_timeout", "backups of a standby need no switch on the primary", "0"),
    *_fate("worm_mode", "immutable storage is not supported; remove the line", *OFF),
    *_fate("staging_location", _IN_PLACE, "local"),
    *_fate("combine_mode", _IN_PLACE, "copy"),
    *_fate("local_staging_path recovery_staging_path", _IN_PLACE),
    *_fate("primary_ssh_command", _PASSIVE, scope=OWN),
    *_fate("wal_conninfo", "set 'wal_streaming_conninfo', which serves for SQL too", scope=OWN),
    *_fate("tablespace_bandwidth_limit", "set 'bandwidth_limit', for the whole backup"),
    *_fate("custom_compression_filter custom_decompression_filter custom_compression_magic", _CUSTOM),
    *_fate("encryption_key_id encryption_passphrase_command", _GPG),
    *_fate("backup_directory basebackups_directory wals_directory", _REPOSITORY, scope=SERVER),
    *_fate("incoming_wals_directory streaming_wals_directory errors_directory", _REPOSITORY, scope=SERVER),
    *_fate("xlogdb_directory", "there is no xlog.db; the files themselves are the list", scope=NO_MODEL),
    *_fate("cloud_staging_directory cloud_staging_max_size cloud_upload_max_archive_size", _CLOUD),
    *_fate("cloud_upload_min_chunk_size cloud_delete_batch_size", _CLOUD),
    *_fate("cloud_wal_archive_parallel cloud_wal_restore_parallel", _CLOUD),
    *_fate("aws_profile aws_region aws_read_timeout aws_encryption aws_sse_kms_key_id", _CLOUD),
    *_fate("aws_check_object_lock", _CLOUD),
    *_fate("aws_await_snapshots_timeout aws_snapshot_lock_mode aws_snapshot_lock_duration", _SNAPSHOTS),
    *_fate("aws_snapshot_lock_cool_off_period aws_snapshot_lock_expiration_date", _SNAPSHOTS),
    *_fate("azure_credential azure_resource_group azure_subscription_id gcp_project gcp_zone", _SNAPSHOTS),
    *_fate("snapshot_provider snapshot_instance snapshot_disks", _SNAPSHOTS),
    *_fate("warehousepg_dbid", "only PostgreSQL is served; remove the line"),
    *_fate("disabled", "set 'active'", *OFF, scope=SERVER),
]

FATES: dict[str, Fate] = {fate.name: fate for fate in _BARMAN}
