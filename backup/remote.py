"""A restore onto another machine, which has only a POSIX shell, sshd and tar.

The archives are passed on as they are decoded, as tar streams, tablespaces first. What may be configuration
stays here, in a private directory, until it is configured like that of a local restore, and is sent behind the
rest; ``pg_control`` comes last, in a stream of its own. What is at stake is the same as locally, and so is the
order: see ``backup.restore`` and ``backup.remote_place``. With a staging directory the whole is built here first
and then sent, as chains must be.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from backup import destination, remote_place
from backup.chain import needed_at_once
from backup.configure import SIGNALS, Configured, Recovery
from backup.destination import PG_CONTROL
from backup.locations import is_below, tablespace_locations
from backup.neutralise import AUTO_CONF, CONF
from backup.remote_place import Seen
from backup.restore import TABLESPACE_MAP, Restore, RestoreReport
from backup.restore_options import RestoreOptions
from backup.room import Space, room_for, sizes_by_directory
from backup.ssh import Channel, Remote
from backup.tar import MemberSink
from backup.tar_stream import Divider, TarStream, send_tree
from backup.unpack import Places, archives_of
from catalog.errors import Corrupt, DestinationRefused, UsageError
from catalog.local_storage import failed
from catalog.record import INCREMENTAL
from catalog.recovery import RecoveryPlan
from catalog.repository import Repository
from catalog.units import size

_EXTRACT = 'umask 077; mkdir -p "$1" && exec tar -xpof - -C "$1"'
_LINK = (
    'umask 077; cd "$1" && mkdir -p pg_tblspc && cd pg_tblspc || exit 70; shift; '
    'while [ $# -gt 1 ]; do if [ -e "$1" ] || [ -L "$1" ]; then echo "$1 is in the way" >&2; exit 70; fi; '
    'ln -s "$2" "$1" || exit 70; shift 2; done'
)


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """Where the other machine is, and what is peculiar to it.

    ``command`` leads there, ``restore_command`` is what its server is to run, ``owner`` a name there.
    ``staging`` is a directory here to build the cluster in first.
    """

    command: str
    restore_command: str
    owner: str | None = None
    staging: str | None = None


def look(
    plan: RecoveryPlan, options: RestoreOptions, remote: RemoteOptions
) -> tuple[Seen, dict[str, tuple[int, int]]]:
    """What is there, and for each directory to be written bytes needed and free; refuses what cannot be used."""
    locations = tablespace_locations(plan.backup, options.tablespaces, options.destination)
    if plan.backup.type == INCREMENTAL and remote.staging is None:
        raise UsageError(
            f"backup {plan.backup.id} is incremental: it must be put together here before it is sent",
            "name a directory for that with --staging-path, or set staging_path",
        )
    sizes = sizes_by_directory(plan, options, options.destination, locations)
    for path in [each for each in sizes if is_below(each, options.destination)]:
        sizes[options.destination] += sizes.pop(path)
    _check_staging(remote.staging, needed_at_once(plan.chain))
    seen = remote_place.look(Remote(remote.command), [options.destination, *_others(sizes, options)])
    remote_place.owner_there(seen, options.destination, remote.owner)
    spaces = {
        path: Space(found.file_system, found.free, found.reclaimable)
        for path, found in seen.directories.items()
    }
    return seen, room_for(sizes, spaces, there=" there")


def _others(sizes: dict[str, int], options: RestoreOptions) -> list[str]:
    return [path for path in sizes if path != options.destination]


def _check_staging(staging: str | None, needed: int) -> None:
    if staging is None:
        return
    try:
        free = shutil.disk_usage(staging).free
    except OSError as error:
        raise failed("use the staging directory", staging, error) from error
    if needed > free:
        raise DestinationRefused(
            f"the staging directory {staging!r} has room for {size(free)}, {size(needed)} are needed",
            "make room, or choose another one with --staging-path",
        )


def restore(
    plan: RecoveryPlan,
    repository: Repository,
    options: RestoreOptions,
    remote: RemoteOptions,
    on_progress: Callable[[int], None] = lambda nbytes: None,
) -> RestoreReport:
    """Restore as planned onto the other machine. Raises as a local restore does, and ``RemoteFailed``.

    Whatever happens, what was written there by then carries the mark of an unfinished restore.
    """
    with _private_directory(remote.staging) as here:
        return _RemoteRestore(plan, repository, options, remote, on_progress, here).run()


class _RemoteRestore(Restore):
    """``self._root`` is what is laid down here, the whole data directory only if it is staged."""

    def __init__(
        self,
        plan: RecoveryPlan,
        repository: Repository,
        options: RestoreOptions,
        remote: RemoteOptions,
        on_progress: Callable[[int], None],
        here: str,
    ) -> None:
        super().__init__(plan, repository, options, on_progress)
        self._there = self._root
        self._here = here
        self._root = os.path.join(here, "data")
        self._remote_options = remote
        self._remote = Remote(remote.command)

    def _carry_out(self) -> tuple[Sequence[str], Configured]:
        seen, _ = look(self._plan, self._options, self._remote_options)
        self._check_archives()
        owner = remote_place.owner_there(seen, self._there, self._remote_options.owner)
        directories = list(seen.directories)
        try:
            os.mkdir(self._root, destination.PRIVATE)
            with remote_place.claim(self._remote, seen, directories) as claim:
                staged = self._remote_options.staging is not None
                modes = self._stage() if staged else self._pass_on()
                self._link_tablespaces()
                self._copy_wal()
                configured = self._configure()
                self._send_tree(self._root, self._there)
                remote_place.finish(self._remote, directories, owner, self._pg_control(), modes)
                claim.finish()
        except OSError as error:
            raise failed("lay down", self._here, error) from error
        return directories, configured

    def _pass_on(self) -> tuple[int, int]:
        """Send all archives; the modes of the data directory and of pg_control."""
        *spaces, main = archives_of(self._record)
        for archive in spaces:
            with self._sending(self._locations[archive.oid or 0]) as stream:
                self._unpacker.unpack(self._record, archive, stream)
        with self._sending(self._there) as stream, closing(self._divider(stream)) as divider:
            self._unpacker.unpack(self._record, main, divider)
        return 0o750 if divider.group_access else 0o700, divider.modes.get(PG_CONTROL, 0o600)

    def _divider(self, passed: MemberSink) -> Divider:
        return Divider(
            self._root,
            passed,
            transform={TABLESPACE_MAP: self._remap},
            kept=(PG_CONTROL, CONF, AUTO_CONF, *SIGNALS),
            skip=(destination.MARK,),
        )

    def _stage(self) -> tuple[int, int]:
        """Lay all down here, and send the tablespaces; the modes of the data directory and of pg_control."""
        places = Places(self._root, dict(self._staged_places()), None)
        with closing(self._unpack_all(places)) as main:
            main.release()
        for oid, path in places.locations.items():
            self._link_here(oid, path)
        for oid, path in places.locations.items():
            if not is_below(path, self._root):
                self._send_tree(path, self._locations[oid])
        mode = os.stat(os.path.join(self._root, PG_CONTROL)).st_mode & 0o777
        return 0o750 if main.group_access else 0o700, mode

    def _link_here(self, oid: int, path: str) -> None:
        """So that the manifest's paths lead to what is staged; links are not sent."""
        link = os.path.join(self._root, "pg_tblspc", str(oid))
        if link != path:
            os.makedirs(os.path.dirname(link), destination.PRIVATE, exist_ok=True)
            os.symlink(path, link)

    def _staged_places(self) -> Iterator[tuple[int, str]]:
        for oid, path in self._locations.items():
            if is_below(path, self._there):
                yield oid, os.path.join(self._root, os.path.relpath(path, self._there))
            else:
                place = os.path.join(self._here, str(oid))
                os.mkdir(place, destination.PRIVATE)
                yield oid, place

    def _link_tablespaces(self) -> None:
        words = []
        for oid, path in self._locations.items():
            if os.path.join(self._there, "pg_tblspc", str(oid)) != path:
                words += [str(oid), path]
        if words:
            self._remote.run(_LINK, self._there, *words)

    def _copy_wal(self) -> None:
        if self._options.wal is not None:
            with self._sending(self._there) as stream:
                self._push_wal(stream)

    def _recovery(self) -> Recovery:
        return Recovery(
            self._remote_options.restore_command,
            self._options.standby_mode,
            self._options.conf_file,
            look_outside=False,
        )

    def _pg_control(self) -> bytes:
        try:
            with open(os.path.join(self._root, PG_CONTROL), "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise Corrupt(f"backup {self._record.id} has no {PG_CONTROL}", "restore another backup") from None

    def _send_tree(self, directory: str, path: str) -> None:
        with self._extracting(path) as channel:
            send_tree(directory, channel, (PG_CONTROL,))

    @contextmanager
    def _sending(self, path: str) -> Iterator[TarStream]:
        with self._extracting(path) as channel:
            stream = TarStream(channel)
            yield stream
            stream.finish()

    @contextmanager
    def _extracting(self, path: str) -> Iterator[Channel]:
        with self._remote.start(_EXTRACT, path) as channel:
            yield channel
            channel.finish()


@contextmanager
def _private_directory(staging: str | None) -> Iterator[str]:
    """A directory of mode 0700, in the staging directory if there is one; removed at the end."""
    path = tempfile.mkdtemp(prefix="walstream-", dir=staging)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
