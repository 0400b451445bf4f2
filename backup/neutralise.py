"""A restored cluster's configuration files, freed of what leads out of its data directory and to its origin.

The server's own two files and all that they include are searched. A setting that would make the server use
or write files of its origin is commented out. So is an include of a file elsewhere, if that file cannot be
read here or has such a setting; one of a file in the origin's data directory leads to the restored copy
instead. What was done is told line by line. Nothing is synced here.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

from backup.checksum import checksum
from backup.recovery_conf import INCLUDE_DIR, STAY_INSIDE, comment_out, includes, redirect_includes, values_of

AUTO_CONF = "postgresql.auto.conf"
CONF = "postgresql.conf"
POINTS_OUTSIDE = ("data_directory", "external_pid_file", *STAY_INSIDE)
READ_FROM_OUTSIDE = ("hba_file", "ident_file", "ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file")

_NOTE = "walstream restore:"
_MOST = 16 << 20


@dataclass(slots=True)
class Neutralised:
    """What was done: ``changes`` for people, and size and checksum of each file that was changed.

    ``warnings`` tell what lies elsewhere and is used as it is.
    """

    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    changed_files: dict[str, tuple[int, str]] = field(default_factory=dict)


def neutralise(root: str, origin: str, *, look_outside: bool = True) -> Neutralised:
    """Search and change the configuration files below ``root``, as they were in the directory ``origin``.

    Without ``look_outside`` the server will run on another machine, whose files cannot be judged here, and what is
    not below ``root`` may be there all the same. ``OSError`` as it comes.
    """
    done = Neutralised()
    files = [CONF, AUTO_CONF]
    for name in files:
        text = _read(os.path.join(root, name))
        if text is None:
            continue
        place = _Place(root, os.path.normpath(origin) if os.path.isabs(origin) else "", name, look_outside)
        changed, settings = comment_out(text, POINTS_OUTSIDE, _NOTE)
        changed, directives = redirect_includes(changed, place.redirected, _NOTE)
        if settings or directives:
            content = changed.encode("utf-8", "surrogateescape")
            with open(os.path.join(root, name), "wb") as out:
                out.write(content)
            done.changed_files[name] = described(content)
        done.changes += [f"commented out in {name}: {line}" for line in settings]
        done.changes += [f"{what} in {name}: {line}" for line, what in directives]
        done.warnings += place.notes(changed)
        files += [each for each in place.included(changed) if each not in files]
    return done


def is_data(name: str) -> bool:
    """Whether a file of a data directory lies where no settings are, but data."""
    first, slash, _ = name.partition("/")
    return bool(slash) and (first in ("base", "global") or first.startswith("pg_"))


def described(content: bytes) -> tuple[int, str]:
    """A file's size and checksum, as a manifest lists them."""
    total = checksum("CRC32C")
    total.update(content)
    return len(content), total.hexdigest()


@dataclass(frozen=True, slots=True)
class _Place:
    """One configuration file ``name`` below ``root``: relative includes are relative to its directory."""

    root: str
    origin: str
    name: str
    look_outside: bool

    def redirected(self, kind: str, path: str) -> tuple[str | None, str]:
        """Where an include is to lead instead (None: nowhere), and what that is called; "" to leave it."""
        at = self._absolute(path)
        if _is_in(at, self.root):
            # What is sent on unread may be anything.
            name = os.path.relpath(at, self.root)
            unread = not self.look_outside and (is_data(f"{name}/") or not os.path.exists(at))
            return None, "commented out (it is no file of settings)" if unread else ""
        if self.origin and os.path.isabs(path) and _is_in(at, self.origin):
            copy = os.path.join(self.root, os.path.relpath(at, self.origin))
            return os.path.relpath(copy, self._directory), "led to the restored copy"
        if not self.look_outside:
            return None, "commented out (it leads out of the restored directory)"
        wrong = _wrong_outside(kind, at)
        return None, f"commented out ({wrong})" if wrong is not None else ""

    def included(self, text: str) -> list[str]:
        """The files that the file brings in, relative to ``root``; those outside are left out."""
        found = []
        for kind, path in includes(text):
            at = self._absolute(path)
            if _is_in(at, self.root):
                found += [os.path.relpath(each, self.root) for each in _members(kind, at)]
        return found

    def notes(self, text: str) -> list[str]:
        """What the file leads to elsewhere, and stays as it is."""
        outside = [path for _, path in includes(text) if not _is_in(self._absolute(path), self.root)]
        notes = [
            f"{self.name} includes {self._absolute(path)!r}, which is outside the restored directory and was left "
            "as it is: nothing in it leads to the origin"
            for path in outside
        ]
        for setting, value in values_of(text, READ_FROM_OUTSIDE):
            if not _is_in(os.path.normpath(os.path.join(self.root, value)), self.root):
                notes.append(f"{self.name} has {setting} = {value!r}, which is not part of the backup")
        return notes

    @property
    def _directory(self) -> str:
        return os.path.dirname(os.path.join(self.root, self.name))

    def _absolute(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._directory, path))


def _wrong_outside(kind: str, path: str, seen: frozenset[str] = frozenset()) -> str | None:
    """What forbids to include a file or directory elsewhere; None if it can be read and leads nowhere."""
    if path in seen:
        return None  # the server will complain
    try:
        texts = {each: _read(each) for each in _members(kind, path)}
    except OSError as error:
        return f"{path!r} cannot be read here: {error.strerror}"
    if not os.path.exists(path):
        return f"there is no {path!r} here"
    for each, text in texts.items():
        leading = comment_out(text or "", POINTS_OUTSIDE, "")[1]
        if leading:
            return f"{each!r} has {leading[0]!r}"
        for inner, further in includes(text or ""):
            below = os.path.normpath(os.path.join(os.path.dirname(each), further))
            wrong = _wrong_outside(inner, below, seen | {path})
            if wrong is not None:
                return wrong
    return None


def _members(kind: str, path: str) -> list[str]:
    """The files that a directive brings in: of a directory its visible ``*.conf``."""
    if kind != INCLUDE_DIR:
        return [path] if os.path.isfile(path) else []
    if not os.path.isdir(path):
        return []
    names = [name for name in sorted(os.listdir(path)) if name.endswith(".conf") and name[0] != "."]
    return [os.path.join(path, name) for name in names]


def _is_in(path: str, root: str) -> bool:
    return os.path.commonpath([root, path]) == root


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            if os.fstat(file.fileno()).st_size > _MOST:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
            return file.read()
    except FileNotFoundError:
        return None
