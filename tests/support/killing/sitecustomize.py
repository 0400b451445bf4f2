"""Python loads this module by itself where a test puts its directory on the path of a process that it starts.

The process then kills itself, with SIGKILL, before that one of its calls that changes a file whose number
is in the environment (``Protection.start``): a kill -9 between any two of them.
"""

import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

_CALLS = (
    "fdatasync",
    "fsync",
    "link",
    "mkdir",
    "open",
    "posix_fallocate",
    "pwrite",
    "rename",
    "unlink",
    "write",
)
_numbers = itertools.count(1)
_last = int(os.environ["WALSTREAM_TEST_DIES_AT"])


def _deadly(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if next(_numbers) >= _last:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)

    return call


for _name in _CALLS:
    setattr(os, _name, _deadly(getattr(os, _name)))
