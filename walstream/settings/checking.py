"""What is wrong with the lines of a section, each by itself: an error for each wrong line. Pure."""

from __future__ import annotations

from catalog.errors import ConfigurationError
from walstream.settings.fates import FATES
from walstream.settings.ini import Line, Section
from walstream.settings.locate import is_unset, shown
from walstream.settings.lookup import unsets
from walstream.settings.nearest import suggestion
from walstream.settings.options import GLOBAL, MODEL, OPTIONS, SERVER, Option


def checked(section: Section, scope: str) -> list[ConfigurationError]:
    """What is wrong with the lines of a section, each by itself."""
    problems = list(section.problems)
    for line in section.lines:
        if line.option not in section.doubtful:
            problem = line_problem(line, section.name, scope)
            if problem is not None:
                problems.append(problem)
    return problems


def line_problem(line: Line, section: str, scope: str) -> ConfigurationError | None:
    """What is wrong with one line of the section of that name."""
    about = f"{line.place}: '{line.option}' in [{section}]"
    option, fate = OPTIONS.get(line.option), FATES.get(line.option)
    if option is None and fate is None:
        known = [*OPTIONS, *FATES]
        hint = suggestion(line.option, known) or "the options are listed in docs/configuration.md"
        return ConfigurationError(f"{about} is not an option", hint)
    allowed = option.scope if option is not None else fate.scope if fate is not None else ""
    if scope not in allowed:
        where = "section of a server" if scope == GLOBAL or SERVER in allowed else "section [walstream]"
        what = "cannot be changed by a model" if scope == MODEL else "does not belong there"
        return ConfigurationError(f"{about} {what}", f"it belongs in the {where}")
    if fate is not None:
        return _fate_problem(line, about)
    return _value_problem(line, option, about) if option is not None else None


def _fate_problem(line: Line, about: str) -> ConfigurationError | None:
    fate = FATES[line.option]
    if is_unset(line.value) or fate.accepts(line.value):
        return None
    accepted = f"accepted is only: {', '.join(fate.accepted)}" if fate.accepted else "remove the line"
    return ConfigurationError(f"{about} is an option of Barman that walstream refuses: {fate.why}", accepted)


def _value_problem(line: Line, option: Option[object], about: str) -> ConfigurationError | None:
    if unsets(line.value, option):
        return None
    try:
        option.kind.parse(line.value)
    except ValueError as error:
        text = "this value" if option.kind.secret else shown(line.value)
        more = f": {error}" if str(error) else ""
        return ConfigurationError(f"{about} cannot be {text}{more}", f"accepted: {option.kind.accepted}")
    return None
