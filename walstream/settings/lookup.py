"""Which line counts for an option of a server, and what it says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from walstream.settings.ini import Line, Section
from walstream.settings.locate import is_unset
from walstream.settings.options import GLOBAL, Option

T = TypeVar("T")


class Lookup:
    """Values from sections, nearest first: ``own`` are the model in force and the server's, ``shared`` the global
    ones. An option that may not stand in the global section comes from ``own`` only.
    """

    __slots__ = ("own", "shared")

    def __init__(self, own: Sequence[Section], shared: Sequence[Section]) -> None:
        self.own = tuple(own)
        self.shared = tuple(shared)

    @property
    def sections(self) -> tuple[Section, ...]:
        """All sections, nearest first."""
        return (*self.own, *self.shared)

    def found(self, option: Option[object]) -> tuple[Section, Line] | None:
        """The line that counts for ``option``, and its section."""
        for section in self.sections if GLOBAL in option.scope else self.own:
            line = section.find(option.name)
            if line is not None:
                return section, line
        return None

    def line(self, option: Option[object]) -> Line | None:
        """The line that counts for ``option``."""
        found = self.found(option)
        return found[1] if found is not None else None

    def get(self, option: Option[T]) -> T:
        """The value that counts, or the default; a wrong line, which ``checked`` reports, is passed over."""
        line = self.line(option)
        if line is None or unsets(line.value, option):
            return option.default
        try:
            return option.kind.parse(line.value)
        except ValueError:
            return option.default


def unsets(value: str, option: Option[object]) -> bool:
    """Whether ``value`` leaves ``option`` without one; ``None`` is a codec's name before it is that."""
    return value == "" or (is_unset(value) and "none" not in option.kind.accepted.split(", "))
