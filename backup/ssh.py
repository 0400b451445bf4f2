"""Another machine, reached by a command like ``ssh user@host``: scripts that run there, and bytes pushed into them.

Nothing is needed there but a POSIX shell and what the scripts name. The command is started without a shell
here; whatever the shell there gets went through ``command_line``. Failures become ``RemoteFailed`` with what was
said on standard error, which goes to a file meanwhile, so that nobody waits for somebody to read it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from typing import IO

from catalog.durable import write_all
from catalog.errors import RemoteFailed, UsageError
from catalog.sink import BytesLike

_BEGIN = "walstream-begin"
_TAIL = 4000
_CUT = "the connection was lost"

# What ssh and the programs there say, and what to do; the first that fits counts.
_HINTS = (
    (("host key verification failed", "host identification has changed", "host key is known"),
     "compare the machine's key with what its administrator says, and put it into known_hosts"),
    (("permission denied (",),
     "ssh has to let you in without a password: put a key there (ssh-copy-id), or name one with -i"),
    (("could not resolve", "connection refused", "timed out", "no route to host", "network is unreachable"),
     "see that the machine is up, and its name and port are right"),
    (("no space left", "quota exceeded", "disk full"), "make room there, and repeat the restore"),
    (("tar: not found", "tar: command not found"), "install tar there"),
    (("permission denied", "operation not permitted", "read-only file system"),
     "log in as a user that may write there, or name another directory"),
    (("closed by remote host", "broken pipe", "connection reset", _CUT),
     "repeat the restore when the network is well; PostgreSQL does not start on what is there so far"),
)  # fmt: skip


def command_line(script: str, *arguments: str) -> str:
    """What to hand to ssh so that a POSIX shell there runs ``script`` with these as ``$1`` and so on.

    ``UsageError`` for an argument that not every shell passes on as it is.
    """
    for argument in arguments:
        if any(character in argument for character in "\n\r\0"):
            raise UsageError(f"a name with a line break cannot be used on another machine: {argument!r}")
    return shlex.join(["exec", "sh", "-c", f"LC_ALL=C; export LC_ALL; {script}", "sh", *arguments])


def split_command(command: str) -> list[str]:
    """The words of a command that leads to another machine."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"not a command: {command!r} ({error})", "write it like 'ssh user@host'") from None
    if not words:
        raise UsageError("the command for the other machine is empty", "write it like 'ssh user@host'")
    return words


class Remote:
    """A machine; ``command`` is what comes before the command line for its shell."""

    def __init__(self, command: str) -> None:
        self._words = split_command(command)

    def __str__(self) -> str:
        return shlex.join(self._words)

    def run(self, script: str, *arguments: str, content: bytes = b"") -> list[str]:
        """Run a script, ``content`` its standard input; the lines that it printed."""
        with self.start(script, *arguments) as channel:
            if content:
                channel.write(content)
            channel.finish()
            return channel.said

    def start(self, script: str, *arguments: str) -> Channel:
        """Start a script that reads its standard input; use it in a ``with``."""
        line = command_line(f"echo {_BEGIN}; {script}", *arguments)
        complaints = tempfile.TemporaryFile()  # the channel closes it
        try:
            process = subprocess.Popen(
                [*self._words, line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
            )
        except OSError as error:
            complaints.close()
            raise RemoteFailed(
                f"cannot run {self._words[0]!r}: {error.strerror}", "write the command like 'ssh user@host'"
            ) from error
        return Channel(str(self), process, complaints)


class Channel:
    """A script that runs on the other machine; a sink for its standard input.

    After ``finish`` there is in ``said`` what it printed and was not taken by ``line``. Leaving the ``with``
    block ends it, however far it is.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        self._name = name
        self._process = process
        self._complaints = complaints
        self.said: list[str] = []

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *exception: object) -> None:
        self.abort()

    def write(self, data: BytesLike) -> None:
        assert self._process.stdin is not None
        try:
            write_all(self._process.stdin.fileno(), data)
        except BrokenPipeError:
            self._end()
            raise self._failure() from None

    def line(self) -> str:
        """The next line that the script prints, behind what a login shell may have said before it."""
        line = self._raw_line()
        while line == _BEGIN:
            line = self._raw_line()
        return line

    def finish(self) -> None:
        """Close the input, and wait for the end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._close_input()
        lines = os.fsdecode(self._process.stdout.read()).split("\n")
        if self._process.wait():
            raise self._failure()
        begin = len(lines) - lines[::-1].index(_BEGIN) if _BEGIN in lines else 0
        self.said = [line for line in lines[begin:] if line]

    def abort(self) -> None:
        """End it; harmless after its end."""
        self._end()
        for file in (self._process.stdin, self._process.stdout, self._complaints):
            with contextlib.suppress(OSError):
                if file is not None:
                    file.close()

    def _raw_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            self._end()
            raise self._failure()
        return os.fsdecode(line[:-1])

    def _close_input(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _end(self) -> None:
        """What broke off by itself is given a moment to say why."""
        self._close_input()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()

    def _failure(self) -> RemoteFailed:
        self._complaints.seek(0)
        said = self._complaints.read().decode("utf-8", "replace")[-_TAIL:].strip()
        lines = said.split("\n") if said else [_CUT if self._process.returncode == 255 else "it said nothing"]
        for words, hint in _HINTS:
            for line in lines:
                if any(word in line.lower() for word in words):
                    return self._failed(line, hint)
        return self._failed(lines[-1], "try it by hand, with the word 'true' behind the command")

    def _failed(self, reason: str, hint: str) -> RemoteFailed:
        return RemoteFailed(f"{self._name!r} failed ({self._process.returncode}): {reason}", hint)
