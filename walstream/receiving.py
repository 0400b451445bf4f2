"""What a receiver is given: options, a target to fill, a way to connect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from catalog.lsn import LSN
from catalog.timeline import Path
from walstream.connection import Connection
from walstream.facts import ServerFacts
from walstream.resume import Start
from walstream.standing import Standing
from walstream.streaming import Destination

FIRST_PAUSE = 0.5
COMMAND_PATIENCE = 60.0


class Connect(Protocol):
    """How a server is reached: ``Connection.open``."""

    def __call__(
        self,
        conninfo: str,
        /,
        *,
        application_name: str,
        replication: bool = True,
        wakeup: int | None = None,
        patience: float | None = None,
        unless: Callable[[], bool] | None = None,
    ) -> Connection: ...


class Target(Protocol):
    """What a receiver fills.

    ``durable``: a flushed position of its destinations may be reported, because it is a fact about
    synced bytes; ``whole_segments``: it can only be one at the end of a segment. ``require`` refuses a server
    that is not of this cluster; ``begin`` is asked at every connection; ``tail`` is what the stream must follow:
    the last page before a start that has anything in it, if that is held. ``accept_gap`` may take a while, and
    raises ``ConnectionFailed`` when it ``is_given_up`` meanwhile.
    """

    durable: bool
    whole_segments: bool

    def require(self, facts: ServerFacts) -> None: ...
    def begin(self, facts: ServerFacts, slot_position: LSN | None) -> Start: ...
    def tail(self, start: Start) -> tuple[LSN, Callable[[bytes], bool]] | None: ...
    def lacks_history(self, timeline: int) -> bool: ...
    def keep_history(self, timeline: int, content: bytes) -> None: ...
    def open(self, start: Start, synchronous: bool, on_flush: Callable[[], None]) -> Destination: ...
    def end_of_timeline(self, timeline: int, switch: LSN) -> None: ...
    def note(self, standing: Standing) -> None: ...
    def accept_gap(self, path: Path, start: LSN, end: LSN, is_given_up: Callable[[], bool]) -> None: ...
    def has_open_gap(self) -> bool: ...
    def require_room(self) -> None: ...
    def raise_error(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ReceiveOptions:
    """How to receive; times in seconds.

    A server that is silent for ``timeout`` counts as lost; it is asked for a sign of life at half of that.
    ``synchronous`` None asks the server whether its ``synchronous_standby_names`` names us.
    Without ``slot``, ``temporary_slot`` keeps the server from removing WAL for as long as a connection lasts.
    ``end_position``: stop once everything before it is flushed. Without ``reconnect`` the first lost
    connection is raised; with it only a failure before the first byte of WAL is, and with ``patient`` not
    even that: a new connection is tried after ``first_pause``, then after longer and longer ones.
    ``gap_patience``: so long are hosts waited for that cannot be reached, before WAL that the others have
    removed counts as lost.
    """

    conninfo: str
    application_name: str = "walstream_receive_wal"
    slot: str | None = None
    create_slot: bool = True
    temporary_slot: bool = False
    synchronous: bool | None = None
    flush_interval: float = 1.0
    status_interval: float = 10.0
    timeout: float = 60.0
    report_applied: bool = False
    end_position: LSN | None = None
    reconnect: bool = True
    patient: bool = False
    first_pause: float = FIRST_PAUSE
    gap_patience: float = 60.0
