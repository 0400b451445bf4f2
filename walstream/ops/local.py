"""Settings joined to what needs no network: a stored repository, codecs. ``wiring`` has the rest."""

from __future__ import annotations

from catalog.codec import Codec
from catalog.repository import Repository
from walstream.ops.hooks import Hooks
from walstream.ops.retain import Rules
from walstream.ops.stored import repository_at
from walstream.settings.server import ServerSettings


def stored_repository(settings: ServerSettings) -> Repository:
    """The server's repository as it is; ``RepositoryError`` when none was ever made."""
    return repository_at(settings.repository, settings.name, settings.home)


def rules_of(settings: ServerSettings) -> Rules:
    """What of this server's backups is to be kept."""
    return Rules(settings.retention_policy, settings.minimum_redundancy)


def hooks_of(settings: ServerSettings) -> Hooks:
    """The operator's scripts for this server."""
    return Hooks(settings.name, settings.scripts, settings.hook_timeout, settings.source_file)


def wal_codec(settings: ServerSettings) -> Codec:
    """How this server's WAL is stored."""
    return codec_of(settings.compression, settings.compression_level, settings.encryption_recipients)


def backup_codec(settings: ServerSettings) -> Codec:
    """How this server's base backups are stored."""
    level = settings.backup_compression_level
    return codec_of(settings.backup_compression, level, settings.encryption_recipients)


def codec_of(name: str, level: int, recipients: tuple[str, ...] = ()) -> Codec:
    """A codec from three options."""
    return Codec.of(name, None if name == "none" else level).encrypted(recipients)
