"""A target made of sinks: each WAL file that is received goes into a sink of its own.

For users of the library who keep WAL in a place of their own. ``sink_factory(name)`` is asked for a sink for
each segment, and for the history of each timeline before the first segment of it. A sink that has all of
its segment is finished; one that has not when the stream ends is aborted, and the segment is offered again
after the next connection. A flushed position is reported only when the caller says that ``finish`` is durable.
"""

from __future__ import annotations

from collections.abc import Callable

from catalog.errors import StreamRefused, WrongServer
from catalog.lsn import LSN, SegmentSize
from catalog.sink import Sink
from catalog.timeline import Path
from catalog.walname import Segment, history_name
from catalog.walpage import PageChecker
from walstream.facts import ServerFacts
from walstream.resume import Start
from walstream.standing import Standing
from walstream.streaming import Destination

SinkFactory = Callable[[str], Sink]


class SinkTarget:
    """Fills sinks, from the segment that holds ``start`` on: the slot's position or the server's if None."""

    def __init__(self, sink_factory: SinkFactory, start: LSN | None = None, *, durable: bool = False) -> None:
        self.durable = durable
        self.whole_segments = True
        self._sink_factory = sink_factory
        self._start = start
        self._server: ServerFacts | None = None
        self._last: Segment | None = None
        self._histories: set[int] = set()

    def require(self, facts: ServerFacts) -> None:
        """``WrongServer`` when this is another cluster than before."""
        if self._server is not None:
            self._require_same(facts, self._server)

    def begin(self, facts: ServerFacts, slot_position: LSN | None) -> Start:
        """Where to begin, or to go on; ``StreamRefused`` when the server does not continue what it sent."""
        self._server = facts
        path, size = Path.of(facts.history), facts.size
        reached = facts.system.position
        if self._start is None:
            self._start = min(slot_position or reached, reached)
        number = size.number_at(self._start) if self._last is None else _next_number(path, self._last, size)
        if size.start(number) > reached:
            raise StreamRefused(
                f"WAL from {size.start(number)} on is wanted, but the server has only reached {reached}",
                "name an earlier start; or, if the server was restored or replaced, begin anew with other sinks",
            )
        return Start(path.timeline_of(number, size), size.start(number))

    def tail(self, start: Start) -> tuple[LSN, Callable[[bytes], bool]] | None:
        """None: what went into sinks is not looked at again."""
        return None

    def lacks_history(self, timeline: int) -> bool:
        """Whether the history of a timeline has not been handed out yet."""
        return timeline not in self._histories

    def keep_history(self, timeline: int, content: bytes) -> None:
        """Hand out the history of a timeline."""
        sink = self._sink_factory(history_name(timeline))
        try:
            sink.write(content)
            sink.finish()
        except BaseException:
            sink.abort()
            raise
        self._histories.add(timeline)

    def open(self, start: Start, synchronous: bool, on_flush: Callable[[], None]) -> Destination:
        """The sinks of one timeline's stream."""
        if self._server is None:
            raise ValueError("begin comes first")
        return _Segments(self._sink_factory, self._server, start, self._note_finished)

    def end_of_timeline(self, timeline: int, switch: LSN) -> None:
        """Nothing: the unfinished segment comes again, as the beginning of the next timeline's."""

    def note(self, standing: Standing) -> None:
        """Nothing: a sink sees for itself how far it is."""

    def require_room(self) -> None:
        """Nothing: a sink that is full raises."""

    def accept_gap(self, path: Path, start: LSN, end: LSN, is_given_up: Callable[[], bool]) -> None:
        """``StreamRefused``: what goes into sinks has no gaps; whoever accepts one begins anew behind it."""
        raise StreamRefused(
            f"WAL from {start} to {end} is wanted next, but the server has removed it",
            f"begin anew at {end} or later, and take a new base backup",
        )

    def has_open_gap(self) -> bool:
        """Never: there are none."""
        return False

    def raise_error(self) -> None:
        """Nothing: sinks raise where they are called."""

    def _note_finished(self, segment: Segment) -> None:
        self._last = segment

    def _require_same(self, facts: ServerFacts, before: ServerFacts) -> None:
        if facts.system.system_identifier != before.system.system_identifier:
            raise WrongServer(
                f"the server has the system identifier {facts.system.system_identifier}, the one before had "
                f"{before.system.system_identifier}",
                "the connection string leads to different clusters",
            )


class _Segments:
    """One timeline's stream, cut into segments; nothing waits, so ``flushed`` is the last finished one's end."""

    has_room = True

    def __init__(
        self, factory: SinkFactory, server: ServerFacts, start: Start, on_finish: Callable[[Segment], None]
    ) -> None:
        self.written = start.position
        self.flushed = start.position
        self._factory = factory
        self._size = server.size
        self._timeline = start.timeline
        self._on_finish = on_finish
        self._checker = PageChecker(
            server.size, server.system.system_identifier, start.timeline, start.position
        )
        self._sink: Sink | None = None

    def write(self, data: memoryview) -> None:
        self._checker.feed(data)
        while data:
            segment = Segment.at(self._timeline, self.written, self._size)
            piece = data[: segment.end(self._size) - self.written]
            if self._sink is None:
                self._sink = self._factory(segment.name(self._size))
            self._sink.write(piece)
            self.written += len(piece)
            data = data[len(piece) :]
            if self.written == segment.end(self._size):
                self._sink.finish()
                self._sink = None
                self.flushed = self.written
                self._on_finish(segment)

    def request_sync(self, *, awaited: bool = False) -> None:
        """Nothing: a segment is durable when its sink is finished, and not before."""

    def close(self) -> None:
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.abort()


def _next_number(path: Path, last: Segment, size: SegmentSize) -> int:
    """The first segment on the path behind ``last``, or earlier if the path left that timeline before."""
    leg = next((leg for leg in path.legs if leg.timeline == last.timeline), None)
    if leg is None:
        raise StreamRefused(
            f"the server is on timeline {path.timeline}, which does not descend from timeline "
            f"{last.timeline}, where WAL was received until now",
            "two servers went different ways: begin anew with other sinks",
        )
    following = last.number + 1
    return following if leg.end is None else min(following, size.number_at(leg.end))
