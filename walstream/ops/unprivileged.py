"""Run PostgreSQL's programs as an ordinary user, whoever we are: they refuse to run as root.

Not root: as we are. Root: inside a user namespace, where the same files look as if an ordinary user
owned them (no change of owner, no question of who may read the binaries). Where namespaces are refused,
as in many containers: as user 65534, who must own the data and be able to reach the binaries. Which of
the three it is was tried out once, in ``way``; nothing here knows what it starts.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from catalog.errors import DestinationRefused

NOBODY = 65534
_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


@dataclass(frozen=True, slots=True)
class Way:
    """How to start a program: words to put in front of it, and the user to become (None: stay)."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None

    def popen(
        self,
        argv: Sequence[str],
        output: IO[bytes] | int,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start the program; its process id is the program's own, nothing stands between.

        ``environment`` is added to ours.

        It gets a session of its own, so that an interrupt typed at the terminal reaches us, not it.
        """
        return subprocess.Popen(
            [*self.prefix, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_environment(os.environ) | dict(environment or {}),
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else (),
            start_new_session=True,
        )

    def give(self, path: str) -> None:
        """Make the program's user the owner of a directory with all it holds, tablespaces included."""
        if self.uid is None:
            return
        os.chown(path, self.uid, self.uid, follow_symlinks=False)
        for parent, directories, files in os.walk(path):
            for name in directories + files:
                entry = os.path.join(parent, name)
                os.chown(entry, self.uid, self.uid, follow_symlinks=False)
                if os.path.basename(parent) == "pg_tblspc" and os.path.islink(entry):
                    self.give(os.path.realpath(entry))

    def share(self, path: str) -> None:
        """Let the program's user read what will be made below an empty directory: by its group."""
        if self.uid is None:
            return
        os.chown(path, -1, self.uid)
        os.chmod(path, 0o2750)

    def shown(self, argv: Sequence[str]) -> str:
        """The program as a person would start it in a shell."""
        become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        return shlex.join([*self.prefix, *(become if self.uid is not None else ()), *argv])

    def require_access(self, path: str) -> None:
        """Raise ``DestinationRefused`` when the program's user cannot reach ``path``."""
        if self.uid is None:
            return
        closed = _closed_parent(os.path.realpath(path))
        if closed is not None:
            raise DestinationRefused(
                f'user {self.uid} cannot reach "{path}": directory "{closed}" is not open to others',
                "PostgreSQL cannot run as root, and user namespaces are not allowed here: put the "
                "installation and the data below directories of mode 755 (a virtual environment in "
                "/root is not), or run this as an ordinary user",
            )


@functools.cache
def way() -> Way:
    """The way that works here; tried out at the first call."""
    if os.geteuid() != 0:
        return Way()
    if shutil.which(_NAMESPACE[0]) is not None:
        trial = subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False)
        if trial.returncode == 0:
            return Way(prefix=_NAMESPACE)
    return Way(uid=NOBODY)


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Ours without what would change a server's language or a client's destination."""
    kept = {name: value for name, value in ours.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}


def _closed_parent(path: str) -> str | None:
    """The topmost directory above ``path`` that others may not enter."""
    parents = []
    while (parent := os.path.dirname(path)) != path:
        parents.append(parent)
        path = parent
    for parent in reversed(parents):
        if not os.stat(parent).st_mode & stat.S_IXOTH:
            return parent
    return None
