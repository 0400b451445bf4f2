"""One command for several servers, side by side: a process of this program for each, one output for all.

The processes tell what they have to say (``teller``), and this one says it, with one progress line for all.
A signal is passed on to those that run, each of them undoes what is half done, and only when the last has
ended does this process end. A process that is left alone by its parent's death fails with the next thing it tells.
"""

from __future__ import annotations

import selectors
import signal
from collections import deque
from collections.abc import Mapping, Sequence

from catalog.errors import Interrupted, Malformed, WalstreamError
from walstream.cli.output import Output
from walstream.cli.signals import calling
from walstream.cli.teller import Listener, retell
from walstream.ops.children import Child
from walstream.ops.supervision import how_it_ended

LONGEST = 1e9  # seconds: as long as it takes


def run_side_by_side(words: Mapping[str, Sequence[str]], output: Output, label: str, most: int | None) -> int:
    """Run this program with the words of each part, by its name, at most so many at a time.

    1 when any part failed, else 0; ``Interrupted`` when a signal ended it, and then everything has ended.
    """
    return _SideBySide(words, output, label, most or len(words)).run()


class _Part:
    """One process, and how far it is."""

    def __init__(self, name: str, words: Sequence[str]) -> None:
        self.name = name
        self.child = Child(words)
        self.listener = Listener(self.child.fileno())
        self.failure_told = False


class _SideBySide:
    def __init__(self, words: Mapping[str, Sequence[str]], output: Output, label: str, most: int) -> None:
        self._waiting = deque(words.items())
        self._output = output
        self._label = label
        self._most = most
        self._running: list[_Part] = []
        self._far: dict[str, tuple[int, int]] = {}
        self._parts = len(words)
        self._stopped = False
        self._code = 0

    def run(self) -> int:
        with (
            selectors.DefaultSelector() as selector,
            self._output.progress(self._label) as progress,
            calling(self._stop, self._stop),
        ):
            try:
                while self._start(selector):
                    for key, _ in selector.select():
                        part: _Part = key.data
                        if self._listen(part):
                            progress.update(*self._so_far())
                        else:
                            selector.unregister(part.child)
                            self._finish(part)
            except BaseException:
                self._abandon()
                raise
        if self._stopped:
            raise Interrupted("stopped by a signal", "what was half done was undone; start again")
        return self._code

    def _start(self, selector: selectors.BaseSelector) -> bool:
        """Start as many as may run; whether any of them does."""
        while self._waiting and len(self._running) < self._most and not self._stopped:
            part = _Part(*self._waiting.popleft())
            self._running.append(part)
            selector.register(part.child, selectors.EVENT_READ, part)
        if self._stopped:
            self._stop()  # one may have been on its way when the signal came
        return bool(self._running)

    def _stop(self) -> None:
        self._stopped = True
        for part in self._running:
            part.child.signal(signal.SIGTERM)

    def _abandon(self) -> None:
        """End all that run, in order: nobody listens to them any more."""
        self._stop()
        for part in self._running:
            part.child.close()
            part.child.wait(LONGEST)

    def _listen(self, part: _Part) -> bool:
        """Say what a part has told; False once it tells no more."""
        try:
            events = part.listener.events()
            for event in events or []:
                self._say(part, event)
        except Malformed as error:
            self._output.error(WalstreamError(f"{part.name}: {error}", "please report it"))
            self._code = 1
            part.child.signal(signal.SIGTERM)
            return False
        return events is not None

    def _say(self, part: _Part, event: list[object]) -> None:
        match event:
            case ["progress", int(done), None | int() as total]:
                self._far[part.name] = done, total or 0
            case ["error", *_] if self._stopped:
                part.failure_told = True  # that it was stopped is said once, for all
            case _:
                part.failure_told |= event[:1] == ["error"]
                retell(event, part.name, self._output)

    def _so_far(self) -> tuple[int, int | None]:
        """What all have done, and of how much; that is not known before each has said it."""
        known = len(self._far) == self._parts and all(total for _, total in self._far.values())
        total = sum(total for _, total in self._far.values())
        return sum(done for done, _ in self._far.values()), total if known else None

    def _finish(self, part: _Part) -> None:
        code = part.child.wait(LONGEST)
        part.child.close()
        self._running.remove(part)
        if code:
            self._code = 1
        if code and code < 0 and not part.failure_told and not self._stopped:
            self._output.error(
                WalstreamError(f"{part.name}: the process ended: {how_it_ended(code)}", "start it again")
            )
