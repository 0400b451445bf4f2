"""Every option of a server with the value that holds, and where that comes from. Pure; secrets are masked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from catalog.retention import RetentionPolicy
from walstream.settings import options
from walstream.settings.conninfo import Conninfo, masked
from walstream.settings.fates import FATES
from walstream.settings.ini import Line, Section
from walstream.settings.locate import GLOBAL_SECTIONS
from walstream.settings.lookup import Lookup, unsets
from walstream.settings.options import OPTIONS, Option
from walstream.settings.schedule import Schedule
from walstream.settings.server import ServerSettings

DEFAULT = "default"
# An option without a value of its own has that of another one.
_INSTEAD: dict[str, Option[object]] = {
    "walstream_home": options.BARMAN_HOME,
    "repository": options.WALSTREAM_HOME,
    "streaming_conninfo": options.CONNINFO,
    "wal_streaming_conninfo": options.STREAMING_CONNINFO,
}
# Shown as what they stand for: the home is walstream_home, and a server is no model.
_LEFT_OUT = ("barman_home", "model")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value stands: ``kind`` is ``server``, ``model``, ``global`` or ``default``.

    ``section``, ``file`` and ``line`` are None for a default; ``option`` is another one whose value it is.
    """

    kind: str
    section: str | None = None
    file: str | None = None
    line: int | None = None
    option: str | None = None

    def __str__(self) -> str:
        if self.kind == DEFAULT:
            return f"{DEFAULT}: {self.option}" if self.option else DEFAULT
        model = f"model {self.section}: " if self.kind == "model" else ""
        also = f"{self.option}: " if self.option else ""
        return f"{model}{also}{self.file}, line {self.line}"


@dataclass(frozen=True, slots=True)
class Explained:
    """One option: ``value`` for programs, ``text`` as the file has it, or the documentation the default."""

    option: str
    value: object
    text: str
    origin: Origin


def explained(settings: ServerSettings, lookup: Lookup) -> list[Explained]:
    """All options that have a bearing on the server, in the order of the documentation."""
    return [
        _resolved(_explained(option, lookup), settings)
        for option in OPTIONS.values()
        if option.name not in _LEFT_OUT
    ]


def needless(lookup: Lookup) -> Iterator[tuple[Line, str]]:
    """The lines that are accepted because they change nothing, each with the reason."""
    for section in lookup.sections:
        for line in section.lines:
            fate = FATES.get(line.option)
            if fate is not None and fate.needless:
                yield line, fate.why


def _explained(option: Option[object], lookup: Lookup) -> Explained:
    # A model in force is of the server's cluster; whose cluster that is, its own section says.
    place = Lookup(lookup.own[-1:], ()) if option.name == "cluster" else lookup
    found = place.found(option)
    if found is not None and not unsets(found[1].value, option):
        section, line = found
        value = option.kind.parse(line.value)
        text = masked(line.value) if isinstance(value, Conninfo) else line.value
        return Explained(option.name, _for_programs(value, text), text, _origin(section, line, lookup))
    other = _INSTEAD.get(option.name)
    if other is not None:
        instead = _explained(other, lookup)
        if instead.value is not None:
            named = replace(instead.origin, option=instead.origin.option or other.name)
            return replace(instead, option=option.name, origin=named)
    default = _for_programs(option.default, option.shown)
    return Explained(option.name, default, option.shown, Origin(DEFAULT))


def _resolved(found: Explained, settings: ServerSettings) -> Explained:
    """What depends on more than the option itself."""
    if found.option == "cluster" and found.value is None:
        return replace(found, value=settings.cluster, text=settings.cluster)
    if found.option in ("compression_level", "backup_compression_level"):
        level = getattr(settings, found.option)
        return replace(found, value=level, text=str(level))
    return found


def _origin(section: Section, line: Line, lookup: Lookup) -> Origin:
    kind = "global" if section.name in GLOBAL_SECTIONS else "server" if section is lookup.own[-1] else "model"
    return Origin(kind, section.name, line.source, line.number)


def _for_programs(value: object, text: str) -> object:
    """A value as JSON has it: what is neither a number, a switch nor a word is its text."""
    if isinstance(value, Conninfo):
        return masked(value)
    if isinstance(value, RetentionPolicy | Schedule):
        return value.text
    return value if value is None or isinstance(value, (bool, int, float, str)) else text
