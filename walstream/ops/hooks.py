"""Scripts of the operator, before and after the work: told by environment variables and JSON on standard input.

One that fails before the work stops it; one that fails behind it is logged, because what was done is done. A script
that takes longer than its time is killed with all that it started.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from catalog.errors import HookFailed
from catalog.incoming import Put
from catalog.sink import Reader
from catalog.units import size
from walstream.ops.script import Outcome, run_script
from walstream.ops.server_log import server_log

BACKUP = "backup"
ARCHIVE = "archive"
DELETE = "delete"
WAL_DELETE = "wal_delete"
RECOVERY = "recovery"
KINDS = (BACKUP, ARCHIVE, DELETE, WAL_DELETE, RECOVERY)
PRE, POST = "pre", "post"

Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Hooks:
    """The scripts of one server: shell commands by name, such as ``pre_backup``; ``timeout`` in seconds."""

    server: str
    scripts: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 600.0
    configuration: str = ""

    def has(self, kind: str) -> bool:
        """Whether there is a script for this kind of work."""
        return f"{PRE}_{kind}" in self.scripts or f"{POST}_{kind}" in self.scripts

    @contextmanager
    def around(
        self, kind: str, facts: Facts, is_over: Callable[[], bool] = lambda: False
    ) -> Iterator[dict[str, object]]:
        """Run the block between the two scripts of a kind; ``HookFailed`` when the first one fails.

        What the block puts into the dictionary is told to the second script, as is the error that ends it.
        Neither is waited for when ``is_over``: it is killed, and ``HookFailed`` raised, whichever it is.
        """
        self.before(kind, facts, is_over)
        later: dict[str, object] = dict(facts)
        try:
            yield later
        except BaseException as error:
            self.after(kind, later | {"error": str(error) or type(error).__name__}, is_over)
            raise
        self.after(kind, later, is_over)

    def before(self, kind: str, facts: Facts, is_over: Callable[[], bool] = lambda: False) -> None:
        """Run the script before the work; ``HookFailed`` unless it exits with 0."""
        self._run(PRE, kind, facts, is_over)

    def after(self, kind: str, facts: Facts, is_over: Callable[[], bool] = lambda: False) -> None:
        """Run the script behind the work; its failure is logged, unless it was not waited for: that is raised."""
        try:
            self._run(POST, kind, facts, is_over)
        except HookFailed as failure:
            if is_over():
                raise
            server_log(self.server).error("%s", failure)

    def _run(self, phase: str, kind: str, facts: Facts, is_over: Callable[[], bool]) -> None:
        command = self.scripts.get(f"{phase}_{kind}")
        if command is None:
            return
        if is_over():
            raise self._failure(phase, kind, "was not called, because whoever would wait for it is to end")
        told = {
            "server": self.server,
            "hook": kind,
            "phase": phase,
            "configuration": self.configuration,
            **facts,
        }
        try:
            outcome = run_script(
                command,
                {**os.environ, **variables(told)},
                json.dumps(told, default=str).encode(),
                self.timeout,
                is_over,
            )
        except (OSError, ValueError) as error:
            raise self._failure(phase, kind, f"cannot be started: {error}") from error
        said = _one_line(outcome)
        if outcome.code is None and is_over():
            raise self._failure(phase, kind, "was ended, because whoever waited for it is to end")
        if outcome.code is None:
            told_so_far = f": {said}" if said else ""
            raise self._failure(phase, kind, f"has not ended within {self.timeout:.0f} s{told_so_far}")
        if outcome.code:
            raise self._failure(
                phase, kind, f"ended with exit code {outcome.code}: {said or 'it said nothing'}"
            )
        if said:
            server_log(self.server).info("%s_%s_script: %s", phase, kind, said)

    def _failure(self, phase: str, kind: str, what: str) -> HookFailed:
        then = "nothing was done" if phase == PRE else "the work itself is done"
        return HookFailed(f"{phase}_{kind}_script of {self.server!r} {what}", f"see the script; {then}")


def _one_line(outcome: Outcome) -> str:
    """What a script said: one event, so one line."""
    lines = (line.strip() for line in outcome.said.splitlines())
    text = "; ".join(line for line in lines if line)
    return f"{text} (the first {size(outcome.left_out)} are left out)" if outcome.left_out else text


NO_HOOKS = Hooks("")


def variables(told: Facts) -> dict[str, str]:
    """Facts as environment variables: ``WALSTREAM_`` and the name; what is not known is empty."""
    return {f"WALSTREAM_{name.upper()}": _text(value) for name, value in told.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (dict, list, tuple, bool)) else str(value).replace("\0", "")


def hooked(put: Put, hooks: Hooks, is_over: Callable[[], bool] = lambda: False) -> Put:
    """``put`` between the scripts for archiving; as it is when there are none.

    A script that has not ended when ``is_over`` is killed. ``HookFailed`` says so, and what was to be stored is to
    be put once more, even when it was the one behind: both scripts are called again then.
    """
    if not hooks.has(ARCHIVE):
        return put

    def put_between(name: str, open_raw: Callable[[], Reader], path: str) -> bool:
        with hooks.around(ARCHIVE, {"segment": name, "file": path}, is_over) as later:
            later["stored"] = put(name, open_raw, path)
        return bool(later["stored"])

    return put_between
