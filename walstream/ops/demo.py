"""The whole story on a server of our own: protect it, lose a table, get it back.

An empty directory in; ``Step`` values (``demo_steps``) out, each when it is over. Everything is what an
operator would use: the configuration file, the receiver, ``take_backup``, ``plan_restore`` and ``restore``.
Nothing runs any more when the steps are over, or were closed before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime

from backup.incoming import Progress
from backup.restore import restore
from catalog.errors import Corrupt, DestinationRefused, Interrupted, ServerError, WalstreamError
from catalog.lsn import LSN
from catalog.pitr import AUTO
from catalog.state import ReceiverState, live_receiver_state
from catalog.target import RecoveryTarget
from catalog.walname import SEGMENT, kind_of, timeline_in
from walstream.commands import text
from walstream.ops import payments, unprivileged, wiring
from walstream.ops.backup import BackupRequest, take_backup
from walstream.ops.demo_place import SERVER, Places, require_reach
from walstream.ops.demo_servers import Servers, sql
from walstream.ops.demo_steps import (
    BackedUp,
    Compared,
    Dropped,
    Receiving,
    Recovered,
    Restored,
    Started,
    Step,
    Worked,
)
from walstream.ops.installation import find_binaries, version_text
from walstream.ops.payments import Activity, Digest, Payer
from walstream.ops.reception import Reception
from walstream.ops.restore import RestoreRequest, plan_restore
from walstream.receiver import Receiver
from walstream.receiving import ReceiveOptions
from walstream.settings.load import load
from walstream.settings.server import ServerSettings
from walstream.settings.write import add_server

SLOT = "walstream"
FIRST_WORK, MORE_WORK = 2.5, 1.5
PATIENCE = 60.0


def demo(
    directory: str, on_progress: Callable[[str, int, int | None], None] = lambda what, done, total: None
) -> Generator[Step, None, None]:
    """Tell the story in an empty directory; close the iterator to end it early.

    ``on_progress`` gets what is being done, and bytes. Raises ``Absent`` without PostgreSQL's programs,
    ``DestinationRefused`` when they cannot reach the directory, ``Corrupt`` when the rows differ at the end.
    """
    binaries = find_binaries()
    require_reach(binaries, directory)
    with ExitStack() as stack:
        story = _Story(binaries, directory, stack, on_progress)
        for name, act in story.acts().items():
            began = time.monotonic()
            try:
                step = act()
            except Interrupted:
                raise
            except WalstreamError as error:
                raise story.explained(error) from error
            yield replace(step, name=name, seconds=time.monotonic() - began)
        story.stop()


def require_same(before: Digest, after: Digest) -> None:
    """``Corrupt`` when a table did not come back as it was."""
    if before != after:
        raise Corrupt(
            f"the restored table is not what it was: {after.rows} rows instead of {before.rows}, "
            f"checksum {after.checksum} instead of {before.checksum}",
            "this must never happen: please report it, with what walstream demo --keep DIR leaves",
        )


class _Story:
    """The acts, and what each leaves to those behind it."""

    _settings: ServerSettings
    _payer: Payer
    _before: Digest
    _dropped: Dropped
    _begin: LSN
    _seen: Activity

    def __init__(
        self,
        binaries: str,
        directory: str,
        stack: ExitStack,
        on_progress: Callable[[str, int, int | None], None],
    ) -> None:
        self._places = Places.within(directory)
        self._stack = stack
        self._on_progress = on_progress
        self._servers = stack.enter_context(closing(Servers(binaries, self._places)))
        self._origin, self._restored = self._servers.origin, self._servers.restored

    def acts(self) -> dict[str, Callable[[], Step]]:
        return {
            "server": self.start,
            "receive": self.receive,
            "work": self.work,
            "backup": self.back_up,
            "more work": self.work_on,
            "accident": self.lose,
            "restore": self.restore,
            "recover": self.recover,
            "compare": self.compare,
        }

    def start(self) -> Step:
        self._servers.start_origin()
        return Started(version=version_text(self._origin.bin_dir), directory=self._origin.directory)

    def receive(self) -> Step:
        home, config = self._places.home, self._places.config
        os.mkdir(home, 0o750)
        unprivileged.way().share(home)
        lines = {
            "description": "the server of walstream demo",
            "conninfo": self._origin.conninfo(),
            "slot_name": SLOT,
            "immediate_checkpoint": "on",
        }
        add_server(config, SERVER, lines, home)
        self._settings = load(config).server(SERVER)
        options = wiring.receive_options(self._settings)
        self._reception = self._stack.enter_context(Reception(lambda: self._receiver(options)))
        with sql(self._origin) as connection:
            position = payments.position(connection)
        self._wait(lambda: self._state().flushed >= position)
        return Receiving(config=config, repository=self._settings.repository, slot=SLOT, position=position)

    def work(self) -> Step:
        with sql(self._origin) as connection:
            payments.create(connection)
        self._payer = self._stack.enter_context(Payer(self._origin.conninfo()))
        self._seen = self._payer.activity()
        return self._worked(FIRST_WORK)

    def back_up(self) -> Step:
        def progress(step: Progress) -> None:
            self._on_progress("backup", step.done, step.total)

        request = BackupRequest(name="demo", wait_timeout=PATIENCE)
        outcome = take_backup(wiring.backup_options(self._settings, request), progress)
        if not outcome.restorable:
            raise ServerError(f"the WAL of backup {outcome.record.id} did not come within {PATIENCE:.0f} s")
        self._begin = outcome.record.begin.lsn
        before, self._seen = self._seen, self._payer.activity()
        return BackedUp(
            backup_id=outcome.record.id,
            cluster_bytes=outcome.record.cluster_size,
            stored_bytes=outcome.stored_bytes,
            rows_meanwhile=self._seen.rows - before.rows,
        )

    def work_on(self) -> Step:
        step = self._worked(MORE_WORK)
        self._payer.stop()
        return step

    def lose(self) -> Step:
        with sql(self._origin) as connection:
            self._before = payments.digest(connection)
            seconds = text(connection.row("SELECT extract(epoch FROM clock_timestamp())")[0], "time")
            moment = datetime.fromtimestamp(float(seconds)).astimezone()
            payments.drop(connection)
            position = payments.position(connection)
        self._wait(lambda: self._state().flushed >= position)
        repository = wiring.stored_repository(self._settings)
        sizes = [size for name, size in repository.wal.all_sizes() if kind_of(name) == SEGMENT]
        self._dropped = Dropped(
            moment=moment,
            rows=self._before.rows,
            position=position,
            segments=len(sizes),
            raw_bytes=len(sizes) * repository.identity.wal_segment_size.nbytes,
            stored_bytes=sum(sizes),
        )
        return self._dropped

    def restore(self) -> Step:
        destination = self._restored.directory
        os.mkdir(destination, 0o700)
        given = {"time": self._dropped.moment.isoformat()}
        target = RecoveryTarget.from_options(given, action="promote")
        repository = wiring.stored_repository(self._settings)
        planned = plan_restore(repository, self._settings.home, RestoreRequest(AUTO, destination, target))

        def progress(nbytes: int) -> None:
            self._on_progress("restore", nbytes, planned.plan.backup.cluster_size)

        report = restore(planned.plan, repository, planned.options, progress)
        return Restored(directory=destination, restored_bytes=report.nbytes)

    def recover(self) -> Step:
        self._servers.start_restored(PATIENCE)
        with sql(self._restored) as connection:
            name = text(connection.row("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[0], "name")
        return Recovered(
            wal_bytes=self._dropped.position - self._begin,
            moment=self._dropped.moment,
            timeline=timeline_in(name),
        )

    def compare(self) -> Step:
        with sql(self._restored) as connection:
            after = payments.digest(connection)
        require_same(self._before, after)
        return Compared(before=self._before, after=after)

    def stop(self) -> None:
        """End everything in order, so that what is left on disk can be started again."""
        self._reception.stop()
        self._servers.stop()

    def explained(self, error: WalstreamError) -> WalstreamError:
        """An error with the end of the log of the server that it is likely to be about."""
        log = self._servers.last_words()
        if not log or log in str(error) or isinstance(error, DestinationRefused | Corrupt):
            return error
        return ServerError(f"{error}\nthe end of the server's log:\n{log}", error.hint)

    def _state(self) -> ReceiverState:
        running = self._reception.is_running()
        state = live_receiver_state(self._settings.home)
        if state is None or not running:
            raise ServerError("the receiver has ended")
        return state

    @contextmanager
    def _receiver(self, options: ReceiveOptions) -> Iterator[Receiver]:
        with wiring.running_receiver(self._settings, options) as (receiver, _):
            yield receiver

    def _worked(self, seconds: float) -> Step:
        before, began = self._seen, time.monotonic()
        lag_bytes = 0
        while time.monotonic() < began + seconds:
            time.sleep(0.1)
            self._seen = self._payer.activity()
            lag_bytes = max(lag_bytes, self._seen.lag_bytes)
            self._on_progress("receive", self._seen.position - before.position, None)
        return Worked(
            rows=self._seen.rows - before.rows,
            wal_bytes=self._seen.position - before.position,
            lag_bytes=lag_bytes,
        )

    def _wait(self, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > limit:
                raise ServerError(f"the receiver did not get the server's WAL within {PATIENCE:.0f} s")
            time.sleep(0.02)
