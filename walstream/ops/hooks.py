"""Scripts of the operator, before and after the work: told by environment variables and JSON on standard input.

One that fails before the work stops it; one that fails behind it is logged, because what was done is done. A script
that takes longer than its time is killed with all that it started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from catalog.errors import HookFailed
from catalog.incoming import Put
from catalog.sink import Reader
from walstream.ops.server_log import server_log

BACKUP = "backup"
ARCHIVE = "archive"
DELETE = "delete"
WAL_DELETE = "wal_delete"
RECOVERY = "recovery"
KINDS = (BACKUP, ARCHIVE, DELETE, WAL_DELETE, RECOVERY)
PRE, POST = "pre", "post"

_MOST = 2000

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
    def around(self, kind: str, facts: Facts) -> Iterator[dict[str, object]]:
        """Run the block between the two scripts of a kind; ``HookFailed`` when the first one fails.

        What the block puts into the dictionary is told to the second script, as is the error that ends it.
        """
        self.before(kind, facts)
        later: dict[str, object] = dict(facts)
        try:
            yield later
        except BaseException as error:
            self.after(kind, later | {"error": str(error) or type(error).__name__})
            raise
        self.after(kind, later)

    def before(self, kind: str, facts: Facts) -> None:
        """Run the script before the work; ``HookFailed`` unless it exits with 0."""
        self._run(PRE, kind, facts)

    def after(self, kind: str, facts: Facts) -> None:
        """Run the script behind the work; its failure is logged."""
        try:
            self._run(POST, kind, facts)
        except HookFailed as failure:
            server_log(self.server).error("%s", failure)

    def _run(self, phase: str, kind: str, facts: Facts) -> None:
        command = self.scripts.get(f"{phase}_{kind}")
        if command is None:
            return
        told = {
            "server": self.server,
            "hook": kind,
            "phase": phase,
            "configuration": self.configuration,
            **facts,
        }
        try:
            script = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables(told)},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise self._failure(phase, kind, f"cannot be started: {error}") from error
        try:
            said, _ = script.communicate(json.dumps(told, default=str).encode(), self.timeout)
        except subprocess.TimeoutExpired:
            _kill_group(script)
            raise self._failure(phase, kind, f"has not ended within {self.timeout:.0f} s") from None
        except BaseException:
            _kill_group(script)
            raise
        lines = (line.strip() for line in said.decode("utf-8", "replace").splitlines())
        text = "; ".join(line for line in lines if line)[-_MOST:]
        if script.returncode:
            words = text or "it said nothing"
            raise self._failure(phase, kind, f"ended with exit code {script.returncode}: {words}")
        if text:
            server_log(self.server).info("%s_%s_script: %s", phase, kind, text)

    def _failure(self, phase: str, kind: str, what: str) -> HookFailed:
        then = "nothing was done" if phase == PRE else "the work itself is done"
        return HookFailed(f"{phase}_{kind}_script of {self.server!r} {what}", f"see the script; {then}")


NO_HOOKS = Hooks("")


def variables(told: Facts) -> dict[str, str]:
    """Facts as environment variables: ``WALSTREAM_`` and the name; what is not known is empty."""
    return {f"WALSTREAM_{name.upper()}": _text(value) for name, value in told.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (dict, list, tuple, bool)) else str(value).replace("\0", "")


def _kill_group(script: subprocess.Popen[bytes]) -> None:
    """End a script, and all that it has started in its session."""
    try:
        os.killpg(script.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    script.wait()
    for pipe in (script.stdin, script.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def hooked(put: Put, hooks: Hooks) -> Put:
    """``put`` between the scripts for archiving; as it is when there are none."""
    if not hooks.has(ARCHIVE):
        return put

    def put_between(name: str, open_raw: Callable[[], Reader], path: str) -> bool:
        with hooks.around(ARCHIVE, {"segment": name, "file": path}) as later:
            later["stored"] = put(name, open_raw, path)
        return bool(later["stored"])

    return put_between
