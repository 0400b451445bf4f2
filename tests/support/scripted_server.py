"""A server as the receiver sees one, played from a script: no socket, no PostgreSQL.

``ScriptedServer.connect`` stands in for ``Connection.open``. Each stream that is started plays the next of
``scripts``: a list of

- ``bytes``: one copy message (``wal``, ``keepalive``);
- a function of the stream: nothing more arrives until it returns true (of what was sent back, for instance);
- ``Ended``: the server ends the copy, and these results follow;
- an exception: raised in place of what would have been read.

Behind the last step the server is silent, and takes part in an orderly end. What the receiver does is
recorded: ``commands`` over all connections, and in each ``Stream`` the positions of every status update.
"""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

from support.values import MB
from support.wal_pages import SYSTEM_IDENTIFIER

from catalog.errors import ConnectionLost, ServerRefused
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import History
from walstream.connecting import single_hosts
from walstream.connection import COPY_BOTH, COPY_IN, OK, ROWS, EndOfCopy, Result

SHUTDOWN = "the connection to the server was lost: server closed the connection unexpectedly"


@dataclass(frozen=True)
class Ended:
    """The end of a copy by the server; an exception among the results is raised."""

    results: Sequence[Result | Exception]


class Update(NamedTuple):
    """A status update as the server reads it."""

    written: LSN
    flushed: LSN
    applied: LSN
    asks: bool


@dataclass
class Stream:
    """One START_REPLICATION and what came of it."""

    command: str
    updates: list[Update] = field(default_factory=list)
    ended_by_client: bool = False

    @property
    def start(self) -> LSN:
        return LSN.parse(self.command.split()[-3])

    @property
    def timeline(self) -> int:
        return int(self.command.split()[-1])

    @property
    def flushed(self) -> LSN:
        return self.updates[-1].flushed if self.updates else LSN(0)

    @property
    def written(self) -> LSN:
        return self.updates[-1].written if self.updates else LSN(0)


Script = Sequence[bytes | Callable[[Stream], bool] | Ended | Exception]


def wal(start: LSN, payload: bytes | memoryview, server_end: LSN | None = None) -> bytes:
    """A message with WAL."""
    end = (server_end or start + len(payload)).value
    return struct.pack(">cQQq", b"w", start.value, end, 0) + bytes(payload)


def keepalive(position: LSN, *, reply: bool = False) -> bytes:
    """A sign of life."""
    return struct.pack(">cQq?", b"k", position.value, 0, reply)


def pieces(start: LSN, data: bytes, nbytes: int = 128 * 1024) -> list[bytes]:
    """The messages that carry this WAL."""
    return [wal(start + at, data[at : at + nbytes]) for at in range(0, len(data), nbytes)]


def next_timeline(timeline: int, switch: LSN) -> Ended:
    """The end of a historic timeline."""
    row = (str(timeline).encode(), str(switch).encode())
    return Ended([Result(COPY_IN), Result(ROWS, (row,)), Result(OK)])


def shutdown() -> Ended:
    """An orderly shutdown."""
    return Ended([Result(OK), ConnectionLost(SHUTDOWN)])


def refused(message: str, sqlstate: str) -> Ended:
    """An error in mid-stream, or where a stream was asked for that cannot be had."""
    return Ended([ServerRefused(f"the server refused: {message}", None, sqlstate)])


class ScriptedServer:
    """A cluster on a timeline, at a position that moves with what it sends, and the scripts of its streams."""

    def __init__(self, *scripts: Script, position: LSN, timeline: int = 1) -> None:
        self.scripts = list(scripts)
        self.position = position
        self.timeline = timeline
        self.histories: dict[int, History] = {}
        self.system_identifier = SYSTEM_IDENTIFIER
        self.size: SegmentSize = MB
        self.synchronous_standby_names = ""
        self.slots: dict[str, LSN | None] = {}
        self.refuse_connections: list[Exception] = []
        self.refuse_starts: list[Exception] = []
        self.commands: list[str] = []
        self.streams: list[Stream] = []
        self.connections = 0
        self.waits = 0

    def connect(
        self,
        conninfo: str,
        /,
        *,
        application_name: str,
        replication: bool = True,
        wakeup: int | None = None,
        patience: float | None = None,
        unless: Callable[[], bool] | None = None,
    ) -> Any:
        """Stands in for ``Connection.open``."""
        if self.refuse_connections:
            raise self.refuse_connections.pop(0)
        self.connections += 1
        return _Connection(self, single_hosts(conninfo)[0], wakeup)


class _Connection:
    server_version = 180004
    backend_pid = 4711
    host = "here:5432"

    def __init__(self, server: ScriptedServer, conninfo: str, wakeup: int | None) -> None:
        self.conninfo = conninfo
        self._server = server
        self._wakeup = wakeup
        self._results: Iterator[Result | Exception] = iter(())
        self._script: list[bytes | Callable[[Stream], bool] | Ended | Exception] = []
        self._stream: Stream | None = None
        self._awaits_end = False

    def __enter__(self) -> _Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._script.clear()

    def parameter(self, name: str) -> str | None:
        return "off" if name == "in_hot_standby" else None

    def send(self, command: str) -> None:
        self._server.commands.append(command)
        assert command.startswith("START_REPLICATION"), command
        if self._server.refuse_starts:
            self._results = iter([self._server.refuse_starts.pop(0)])
            return
        self._stream = Stream(command)
        self._server.streams.append(self._stream)
        self._script = list(self._server.scripts.pop(0)) if self._server.scripts else []
        self._results = iter([Result(COPY_BOTH)])
        first = self._script[0] if self._script else None
        if isinstance(first, Ended) and first.results and isinstance(first.results[0], Result):
            if first.results[0].kind == ROWS:  # nothing to stream: no copy at all
                self._results = iter(first.results)

    def result(self) -> Result | None:
        if self._awaits_end:
            assert self._stream is not None and self._stream.ended_by_client, "the server waits for the end"
        found = next(self._results, None)
        if isinstance(found, Exception):
            raise found
        self._awaits_end = found is not None and found.kind == COPY_IN
        return found

    def query(self, command: str) -> tuple[tuple[bytes | None, ...], ...]:
        self._server.commands.append(command)
        word, *rest = command.split()
        server = self._server
        if word == "IDENTIFY_SYSTEM":
            facts = (server.system_identifier, server.timeline, server.position)
            return ((*(str(fact).encode() for fact in facts), None),)
        if word == "SHOW":
            settings = {
                "wal_segment_size": f"{server.size.nbytes >> 20}MB",
                "wal_block_size": "8192",
                "transaction_read_only": "off",
                "synchronous_standby_names": server.synchronous_standby_names,
            }
            return ((settings[rest[0]].encode(),),)
        if word == "TIMELINE_HISTORY":
            return ((b"x.history", server.histories[int(rest[0])].format()),)
        name = rest[0].strip('"')
        if word == "READ_REPLICATION_SLOT":
            if name not in server.slots:
                return ((None, None, None),)
            restart = server.slots[name]
            return ((b"physical", None if restart is None else str(restart).encode(), b"1"),)
        if word == "DROP_REPLICATION_SLOT":
            del server.slots[name]
            return ()
        assert word == "CREATE_REPLICATION_SLOT", command
        server.slots[name] = server.position
        return ((name.encode(), b"0/0", None, None),)

    def row(self, command: str) -> tuple[bytes | None, ...]:
        (row,) = self.query(command)
        return row

    def copied(self) -> memoryview | None:
        assert self._stream is not None
        while self._script:
            step = self._script[0]
            if callable(step) and not isinstance(step, Exception):
                if not step(self._stream):
                    break
                self._script.pop(0)
                continue
            self._script.pop(0)
            if isinstance(step, Exception):
                raise step
            if isinstance(step, Ended):
                self._results = iter(step.results)
                raise EndOfCopy
            self._advance(step)
            return memoryview(step)
        if self._stream.ended_by_client:
            self._results = iter([Result(OK), Result(OK)])
            raise EndOfCopy
        return None

    def messages(self) -> Iterator[memoryview]:
        while True:
            try:
                message = self.copied()
            except EndOfCopy:
                return
            assert message is not None, "the receiver would wait for ever"
            yield message

    def put(self, data: bytes) -> None:
        assert self._stream is not None
        tag, written, flushed, applied, _, asks = struct.unpack(">cQQQq?", data)
        assert tag == b"r"
        self._stream.updates.append(Update(LSN(written), LSN(flushed), LSN(applied), asks))

    def end_copy(self) -> None:
        assert self._stream is not None
        self._stream.ended_by_client = True

    def wait(self, timeout: float | None) -> bool:
        """Until there is something to read, the wake-up calls, or time is up; 30 seconds at most."""
        self._server.waits += 1
        until = time.monotonic() + min(30.0, 30.0 if timeout is None else timeout)
        while not self._readable():
            left = until - time.monotonic()
            if left <= 0 or self._woken(min(left, 0.005)):
                return False
        return True

    def _advance(self, message: bytes) -> None:
        """Who has sent some WAL has reached its end."""
        if message.startswith(b"w"):
            start = int.from_bytes(message[1:9], "big")
            self._server.position = max(self._server.position, LSN(start + len(message) - 25))

    def _readable(self) -> bool:
        if not self._script:
            return False
        step = self._script[0]
        assert self._stream is not None
        return not callable(step) or isinstance(step, Exception) or step(self._stream)

    def _woken(self, seconds: float) -> bool:
        if self._wakeup is None:
            time.sleep(seconds)
            return False
        return bool(select.select([self._wakeup], [], [], seconds)[0])
