"""The two servers of the demo, on one socket directory: the one that is protected, and what is restored of it."""

from __future__ import annotations

import os

from catalog.errors import ServerError
from walstream.connection import Connection
from walstream.ops import unprivileged
from walstream.ops.demo_place import Places, root_of_ours
from walstream.ops.installation import tail
from walstream.ops.throwaway import ThrowawayServer

ORIGIN_PORT, RESTORED_PORT = 5432, 5433
LONGEST_SOCKET_DIRECTORY = 80


class Servers:
    """``origin`` and ``restored``, none of which runs before it is started, nor after ``close``."""

    def __init__(self, binaries: str, places: Places) -> None:
        self.origin = _server(binaries, places.origin, places.sockets, ORIGIN_PORT)
        self.restored = _server(binaries, places.restored, places.sockets, RESTORED_PORT)

    def start_origin(self) -> None:
        """Make a cluster, and start it."""
        sockets = self.origin.socket_directory
        if sockets is not None:
            os.mkdir(sockets, 0o700)
            unprivileged.way().give(sockets)
        self.origin.init()
        settings = {"listen_addresses": ""} | ({"unix_socket_directories": sockets} if sockets else {})
        self.origin.configure(settings)
        self.origin.start()

    def start_restored(self, patience: float) -> None:
        """Start what was restored, and wait until it is promoted."""
        self.restored.configure({"port": str(RESTORED_PORT)})
        self.restored.start()
        if self.restored.wait_for_recovery(patience) != "ended":
            raise ServerError("the restored cluster was not promoted at its target")

    def stop(self) -> None:
        """Shut down what runs, so that it can be started again."""
        for server in (self.restored, self.origin):
            server.stop()

    def close(self) -> None:
        """End what still runs, whatever became of it."""
        for server in (self.restored, self.origin):
            server.close()

    def last_words(self) -> str:
        """The end of the log of the server that was started last; empty when there is none yet."""
        return next(
            (tail(text) for server in (self.restored, self.origin) if (text := server.log_text())), ""
        )


def sql(server: ThrowawayServer) -> Connection:
    """A connection for SQL."""
    return Connection.open(server.conninfo(), application_name="walstream_demo", replication=False)


def _server(binaries: str, directory: str, sockets: str, port: int) -> ThrowawayServer:
    return ThrowawayServer(
        binaries,
        directory,
        port=port,
        socket_directory=sockets if len(os.fsencode(sockets)) <= LONGEST_SOCKET_DIRECTORY else None,
        # the restore_command is to find this walstream, from wherever it was started
        environment={"PYTHONPATH": os.pathsep.join([root_of_ours(), *_python_path()])},
    )


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
