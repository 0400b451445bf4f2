"""A receiver that runs beside a test, in this process, as ``walstream receive-wal`` would."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from catalog.state import live_receiver_state
from walstream.ops import wiring
from walstream.settings.server import ServerSettings


@contextmanager
def receiving(settings: ServerSettings) -> Iterator[None]:
    """Receive, from the first published position on, until the end of the block."""
    errors: list[BaseException] = []
    with wiring.running_receiver(settings, wiring.receive_options(settings)) as (receiver, _):

        def run() -> None:
            try:
                receiver.run()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            limit = time.monotonic() + 30
            while live_receiver_state(settings.home) is None:
                assert not errors and time.monotonic() < limit, errors
                time.sleep(0.02)
            yield
        finally:
            receiver.stop()
            thread.join()
    assert not errors, errors
