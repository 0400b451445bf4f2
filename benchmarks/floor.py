"""The floor of a synchronous receiver in Python: the few calls that each one has to make, and nothing else.

    python -m benchmarks.floor CONNINFO SLOT DIRECTORY

Receives WAL into files as long as segments, and confirms each batch as soon as it is synced: poll, consume_input,
get_copy_data, pwrite, fdatasync, put_copy_data, flush. It checks nothing, answers for nothing when something
fails, and knows no other timeline: it is there to be measured, not to be used. What it reaches is what
the interpreter, libpq and the disk leave to any receiver in Python; the rest of the way to C is theirs.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import sys

from psycopg import pq

from benchmarks.commits import FLOOR
from catalog.lsn import LSN
from walstream import commands

SEGMENT = 16 << 20
ZEROS = bytes(1 << 20)
WAL = ord("w")
HEADER = 25  # of a message with WAL: a letter, its position, the server's end of WAL, the time
POSITION = struct.Struct(">Q")
STATUS = struct.Struct(">cQQQqB")  # written, flushed, applied, the time, no answer wanted


def main() -> int:
    conninfo, slot, directory = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    connection = pq.PGconn.connect(f"{conninfo} application_name={FLOOR} replication=true".encode())
    if connection.status != pq.ConnStatus.OK:
        sys.exit(connection.error_message.decode())
    receive(connection, start(connection, slot), Segments(directory))
    return 0


def start(connection: pq.abc.PGconn, slot: str) -> int:
    """Begin to stream at the beginning of the server's current segment; where that is."""
    answer = connection.exec_(commands.IDENTIFY_SYSTEM.encode())
    facts = commands.system_facts([answer.get_value(0, column) for column in range(answer.nfields)])
    position = facts.position.value - facts.position.value % SEGMENT
    answer = connection.exec_(commands.start_replication(LSN(position), facts.timeline, slot).encode())
    if answer.status != pq.ExecStatus.COPY_BOTH:
        sys.exit(answer.error_message.decode())
    connection.nonblocking = 1
    return position


def receive(connection: pq.abc.PGconn, end: int, segments: Segments) -> None:
    """Until the server ends the stream; all that is measured is in here."""
    poll = select.poll()
    poll.register(connection.socket, select.POLLIN)
    while True:
        nbytes, message = connection.get_copy_data(1)
        if nbytes < 0:
            return
        if nbytes == 0:
            poll.poll()
            connection.consume_input()
            continue
        before = end
        while nbytes > 0:
            if message[0] == WAL:
                data = memoryview(message)[HEADER:]
                (position,) = POSITION.unpack_from(message, 1)
                segments.write(position, data)
                end = position + len(data)
            nbytes, message = connection.get_copy_data(1)
        if end != before:
            os.fdatasync(segments.descriptor)
        connection.put_copy_data(STATUS.pack(b"r", end, end, 0, 0, 0))
        connection.flush()


class Segments:
    """One open file, filled with zeros and synced beforehand, so that syncing what is written later is cheap."""

    def __init__(self, directory: str) -> None:
        self.descriptor = -1
        self._directory = directory
        self._number = -1

    def write(self, position: int, data: memoryview) -> None:
        """Write at a position; what a file is full with is synced when the next one begins."""
        while data:
            number, offset = divmod(position, SEGMENT)
            if number != self._number:
                self._open(number)
            piece = data[: SEGMENT - offset]
            os.pwrite(self.descriptor, piece, offset)
            data, position = data[len(piece) :], position + len(piece)

    def _open(self, number: int) -> None:
        if self.descriptor >= 0:
            os.fdatasync(self.descriptor)
            os.close(self.descriptor)
        path = os.path.join(self._directory, str(number))
        self.descriptor, self._number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number
        for at in range(0, SEGMENT, len(ZEROS)):
            os.pwrite(self.descriptor, ZEROS, at)
        os.fsync(self.descriptor)


if __name__ == "__main__":
    sys.exit(main())
