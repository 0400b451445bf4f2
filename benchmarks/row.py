"""What a line of the table is made of, and a place that a side gets anew for each run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Contender
from benchmarks.scene import Scene

IN_MEMORY = "neither (memory)"
ON_DISK = "both (disk)"
SEGMENT = 16 << 20


@dataclass(frozen=True, slots=True)
class Limit:
    """What bounds one or more rows, measured by itself; ``nbytes`` as in a row."""

    key: str
    what: str
    nbytes: int
    contender: Contender


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison; ``sync`` is who syncs, ``goal`` the ratio to reach, ``runs`` for one of the others.

    ``nbytes`` is what one piece of work handles; 0 where the pieces themselves are counted. ``limits`` are measured
    in the same rounds.
    """

    key: str
    what: str
    against: str
    sync: str
    goal: float
    nbytes: int
    ours: Contender
    theirs: Contender
    runs: int = 1
    limits: tuple[Limit, ...] = ()


class Place:
    """A directory that every run of a side gets anew, with a slot if it asks for one."""

    def __init__(self, scene: Scene, parent: Path, name: str) -> None:
        self._scene = scene
        self._parent = parent
        self._name = name
        self.path = parent
        self.slot = ""

    def renew(self) -> Path:
        self.path = self._scene.fresh(self._parent, self._name)
        return self.path

    def new_slot(self) -> str:
        self.slot = self._scene.new_slot()
        return self.slot

    def clear(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self.slot:
            self._scene.drop_slot(self.slot)

    def complaint(self, name: str) -> Callable[[], str | None]:
        """A check that a file is there, by its path below."""
        return lambda: None if (self.path / name).exists() else f"there is no {name}"
