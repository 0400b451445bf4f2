"""The text of configuration files → sections of lines, each line with its file and number.

Reading never stops: what is wrong becomes a ``ConfigurationError`` beside the section it was found
in, so that one server's mistake is nobody else's. Knows the form of a file, not a single option.
Values are never quoted in messages: a line with a slip in it may hold a password. On the path of
``get-wal``.

The form: ``[section]``; ``option = value`` on one line; comments are whole lines that begin with
``#`` or ``;``; quotes around a whole value are taken off; ``%`` is a character like any other.
"""

from __future__ import annotations

from catalog.errors import ConfigurationError

_OPTION_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class Line:
    """One ``option = value``, and where it stands."""

    __slots__ = ("number", "option", "source", "value")

    def __init__(self, source: str, number: int, option: str, value: str) -> None:
        self.source = source
        self.number = number
        self.option = option
        self.value = value

    @property
    def place(self) -> str:
        """How messages name the line."""
        return f"{self.source}, line {self.number}"


class Section:
    """The lines of one section, from all places where it is opened, and what is wrong with them.

    ``doubtful`` has the options whose value cannot be told, each with the problem that says why.
    """

    __slots__ = ("doubtful", "lines", "name", "problems", "source")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.lines: list[Line] = []
        self.problems: list[ConfigurationError] = []
        self.doubtful: dict[str, ConfigurationError] = {}

    def find(self, option: str) -> Line | None:
        """The line that sets ``option``; of several (each reported as a problem) the first."""
        for line in self.lines:
            if line.option == option:
                return line
        return None

    def add(self, line: Line) -> None:
        """Add a line; an option that is set already, or a value that cannot be read, is a problem."""
        earlier = self.find(line.option)
        flaw = _flaw(line.value)
        about = f"{line.place}: '{line.option}' in [{self.name}]"
        if flaw is not None:
            self.doubt(line.option, ConfigurationError(f"{about} {flaw}"))
        elif earlier is not None:
            again = ConfigurationError(
                f"{about} is already set in {earlier.place}", "remove one of the two lines"
            )
            if earlier.value == line.value:
                self.problems.append(again)
            else:
                self.doubt(line.option, again)
        self.lines.append(line)

    def doubt(self, option: str, problem: ConfigurationError) -> None:
        """Note a problem that leaves the value of ``option`` unknown."""
        self.problems.append(problem)
        self.doubtful[option] = problem


class Document:
    """Sections in the order in which they were first opened, over any number of files.

    ``problems`` are those that belong to no section, such as a line before the first one.
    """

    __slots__ = ("problems", "sections")

    def __init__(self) -> None:
        self.sections: dict[str, Section] = {}
        self.problems: list[ConfigurationError] = []

    def read(self, text: str, source: str) -> None:
        """Add the text of one file; never raises."""
        section: Section | None = None
        above: str | None = None
        indent_above = -1
        for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            body = raw.strip()
            if not body or body[0] in "#;":
                continue
            place = f"{source}, line {number}"
            indent = len(raw) - len(raw.lstrip())
            problems = self.problems if section is None else section.problems
            if 0 <= indent_above < indent:
                if section is not None and above is not None:
                    section.doubt(above, _continued(place))
                else:
                    problems.append(_continued(place))
            elif body[0] == "[":
                section, above, indent_above = self._open(body, source), None, -1
                if section is None:
                    self.problems.append(_bad_header(place))
            else:
                indent_above = indent
                above = _read_line(section, problems, body, source, number)

    def _open(self, header: str, source: str) -> Section | None:
        name = header[1:-1].strip()
        if header[-1] != "]" or not name or not name.isprintable() or "[" in name or "]" in name:
            return None
        return self.sections.setdefault(name, Section(name, source))


def _read_line(
    section: Section | None, problems: list[ConfigurationError], body: str, source: str, number: int
) -> str | None:
    """Add one line to its section; the option that it sets, or None for a line that sets none."""
    place = f"{source}, line {number}"
    option, equals, value = body.partition("=")
    option = option.strip().lower()
    if not equals or not option or not _OPTION_CHARACTERS.issuperset(option):
        problems.append(ConfigurationError(f"{place}: not of the form 'option = value'", _FORM))
        return None
    if section is None:
        problems.append(ConfigurationError(f"{place}: '{option}' stands in no section", _NO_SECTION))
        return None
    section.add(Line(source, number, option, unquoted(value.strip())))
    return option


_NO_SECTION = "put it under a line such as [walstream]"
_FORM = "a line is [section], option = value, or a comment that begins with # or ;"


def _bad_header(place: str) -> ConfigurationError:
    return ConfigurationError(
        f"{place}: not a section header; the lines under it are not read",
        "write the name between brackets: [main]",
    )


def _continued(place: str) -> ConfigurationError:
    return ConfigurationError(
        f"{place}: looks like the continuation of the line above",
        "write each value on one line, and do not indent",
    )


def _flaw(value: str) -> str | None:
    if any(character < " " and character != "\t" for character in value):
        return "holds a control character"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "is not UTF-8"
    start = value.find("%(")
    if start >= 0 and value.find(")s", start) > 0:
        return "refers to another option by %(name)s, which is not replaced: write the value itself"
    return None


def unquoted(value: str) -> str:
    """The value without the quotes around the whole of it, if there are any."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value
