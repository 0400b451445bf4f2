"""A receiver that runs beside a test, in this process, as ``walstream receive-wal`` would."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from catalog.state import live_receiver_state
from walstream.ops import wiring
from walstream.settings.server import ServerSettings


@contextmanager
def receiving(settings: ServerSettings, **changes: Any) -> Iterator[None]:
    """Receive, from the first published position on, until the end of the block.

    ``changes`` are to the options (``walstream.receiving.ReceiveOptions``).
    """
    errors: list[BaseException] = []
    options = replace(wiring.receive_options(settings), **changes)
    with wiring.running_receiver(settings, options) as (receiver, _):

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
