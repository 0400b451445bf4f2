"""A network that fails: a TCP proxy on loopback in front of a cluster.

It passes bytes both ways until it is told otherwise: to stall (nothing passes, nothing is closed), to delay,
to cut (at once, or once so many bytes have passed: in the middle of a message), to refuse, or to forget the
client and leave the server's side open. One thread of its own serves all connections; every method may be
called from any other, and has taken effect when it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Literal

from support.clusters import Cluster

Cut = Literal["reset", "close"]
Failure = Literal["cut", "forget", "stall"]
Side = Literal["client", "server"]
BOTH: tuple[Side, Side] = ("client", "server")
_CHUNK = 1 << 16


class Proxy:
    """Stands in front of ``cluster``, reached by its socket, or by TCP if it listens; ``close`` ends it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._loop = asyncio.new_event_loop()
        self._links: set[_Link] = set()
        self._listener: asyncio.Server | None = None
        self.port = 0
        self.accepted = 0
        self._flowing = {side: asyncio.Event() for side in BOTH}
        self._pause = 0.0
        self._left: int | None = None
        self._then: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.flow()
        self.admit()

    def conninfo(self, **extra: str) -> str:
        """A connection string for the cluster through this proxy."""
        return self._cluster.conninfo(**{"host": "127.0.0.1", "port": str(self.port)} | extra)

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._links)

    # what may be told

    def lead_to(self, cluster: Cluster) -> None:
        """Take new connections to another cluster, as an address does that moves with the primary."""
        self._cluster = cluster

    def stall(self, *towards: Side) -> None:
        """From now on pass nothing towards these sides, or either."""
        self._call(lambda: self._stall(towards or BOTH))

    def flow(self) -> None:
        """Pass bytes again, and those held back first."""
        self._call(self._flow)

    def delay(self, seconds: float) -> None:
        """Let everything that is passed wait for so long; 0 ends that."""
        self._pause = seconds

    def cut(self, how: Cut = "reset") -> None:
        """End all connections, on both sides."""
        self._call(lambda: self._cut(how))

    def forget(self, how: Cut = "reset") -> None:
        """End all connections on the client's side; the server is told nothing, and hears nothing more."""
        self._call(lambda: self._forget(how))

    def after(self, nbytes: int, what: Failure, how: Cut = "reset") -> None:
        """Cut, forget or stall as soon as exactly so many more bytes have been passed to clients."""

        def fail() -> None:
            if what == "cut":
                self._cut(how)
            elif what == "forget":
                self._forget(how)
            else:
                self._stall(BOTH)

        def arm() -> None:
            self._left, self._then = nbytes, fail

        self._call(arm)

    @property
    def is_armed(self) -> bool:
        """Whether the failure of ``after`` is still to come."""
        return self._left is not None

    def refuse(self) -> None:
        """Take no new connections: whoever tries is refused by the operating system."""

        async def stop() -> None:
            if self._listener is not None:
                self._listener.close()
            self._listener = None

        self._await(stop())

    def admit(self) -> None:
        """Take connections, on the same port as before."""

        async def listen() -> None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_CHUNK)
            self.port = self._listener.sockets[0].getsockname()[1]

        self._await(listen())

    def close(self) -> None:
        """End it, with all connections."""

        async def ended() -> None:
            while self._links:
                self._cut("reset")
                await asyncio.sleep(0.01)

        self.refuse()
        self.flow()
        self._await(ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # on the thread

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            there_reader, there_writer = await self._reach()
        except OSError:
            _end(writer, "reset")
            return
        link = _Link(writer, there_writer)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pump(link, reader, there_writer, "server"),
                self._pump(link, there_reader, writer, "client"),
            )
            if link.forgotten:
                await link.released.wait()
        finally:
            link.cut("reset")
            self._links.discard(link)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        cluster = self._cluster
        if cluster.settings.get("listen_addresses"):
            return await asyncio.open_connection("127.0.0.1", cluster.port, limit=_CHUNK)
        path = f"{cluster.socket_directory}/.s.PGSQL.{cluster.port}"
        return await asyncio.open_unix_connection(path, limit=_CHUNK)

    async def _pump(
        self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, towards: Side
    ) -> None:
        try:
            while data := await source.read(_CHUNK):
                await self._pass_on(data, sink, towards)
            await self._flowing[towards].wait()
            if not link.forgotten:
                sink.write_eof()
        except OSError:  # one side is gone: so is the other
            await self._flowing[towards].wait()
            if not link.forgotten:
                link.cut("reset")

    async def _pass_on(self, data: bytes, sink: asyncio.StreamWriter, towards: Side) -> None:
        while data:
            if self._pause:
                await asyncio.sleep(self._pause)
            await self._flowing[towards].wait()
            left = self._left if towards == "client" else None
            piece, data = (data, b"") if left is None else (data[:left], data[left:])
            sink.write(piece)
            if left is not None:
                # Set before the wait for the sink, in which another connection may pass bytes.
                self._left = left - len(piece)
            await sink.drain()
            if self._left == 0:
                self._left = None
                self._then()

    def _flow(self) -> None:
        for event in self._flowing.values():
            event.set()

    def _cut(self, how: Cut) -> None:
        for link in self._links:
            link.cut(how)

    def _forget(self, how: Cut) -> None:
        for link in self._links:
            link.forget(how)

    def _stall(self, sides: Iterable[Side]) -> None:
        for side in sides:
            self._flowing[side].clear()

    def _call(self, what: Callable[[], object]) -> None:
        async def call() -> None:
            what()

        self._await(call())

    def _await(self, what: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)


class _Link:
    """One connection: the client's side of it and the server's."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._client = client
        self._server = server
        self.forgotten = False
        self.released = asyncio.Event()
        for writer in (client, server):
            writer.transport.set_write_buffer_limits(0)  # what was drained has left

    def cut(self, how: Cut) -> None:
        _end(self._client, how)
        _end(self._server, how)
        self.released.set()

    def forget(self, how: Cut) -> None:
        self.forgotten = True
        _end(self._client, how)


def _end(writer: asyncio.StreamWriter, how: Cut) -> None:
    """Close at once; ``reset`` tells the peer so, ``close`` looks like an orderly end."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if how == "close":
            connection.shutdown(socket.SHUT_WR)  # what was not read would make it a reset
        elif connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
