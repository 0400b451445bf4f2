"""The kinds of values that options have: text → typed value, or ``ValueError``.

A kind says in words what it accepts, for messages and for the documentation. The text of a
``ValueError``, if there is any, says more than the words do. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from catalog.age.names import recipient_bytes
from catalog.codec import LEVELS
from catalog.retention import RetentionPolicy
from walstream.settings.conninfo import Conninfo, is_uri
from walstream.settings.listen import Listen
from walstream.settings.locate import ON, absolute_path
from walstream.settings.schedule import Schedule

T_co = TypeVar("T_co", covariant=True)

OFF = ("off", "false", "no", "0", "f", "n")


@dataclass(frozen=True)
class Kind(Generic[T_co]):
    """One kind of value: what it accepts in words, how to read it, and whether it may be shown."""

    accepted: str
    parse: Callable[[str], T_co]
    secret: bool = False


def _on_off(text: str) -> bool:
    if text.lower() in ON:
        return True
    if text.lower() in OFF:
        return False
    raise ValueError


def choice(*words: str, refused: str = "") -> Kind[str]:
    """One of some words, in any case; the value is the word as given here."""

    def parse(text: str) -> str:
        for word in words:
            if text.lower() == word.lower():
                return word
        raise ValueError(refused)

    return Kind(", ".join(words), parse)


def whole(least: int, most: int, unit: str = "") -> Kind[int]:
    """A whole number between two bounds."""

    def parse(text: str) -> int:
        number = _digits(text.removeprefix("-"))
        return within(-number if text.startswith("-") else number, least, most)

    return Kind(f"a whole number{unit} from {least} to {most}", parse)


_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SECONDS |= {
    word + plural: seconds
    for word, seconds in (("second", 1.0), ("minute", 60.0), ("hour", 3600.0), ("day", 86400.0))
    for plural in ("", "s")
}
_AGES = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400, "WEEK": 7 * 86400, "MONTH": 31 * 86400}


def duration(least: float, most: float = 86400.0) -> Kind[float]:
    """A length of time in seconds, within bounds."""

    def parse(text: str) -> float:
        number, unit = _split(text)
        whole_part, point, fraction = number.partition(".")
        _digits(whole_part)
        if point:
            _digits(fraction)
        return within(float(number) * _SECONDS[unit.lower()], least, most)

    bounds = f"from {least:g} to {most:g} seconds"
    return Kind(f"a time such as 500ms, 10s, 2min or 1h; a bare number is seconds; {bounds}", _known(parse))


def _age(text: str) -> float:
    """As Barman has it, in words; or as all other lengths of time."""
    number, unit = _split(text)
    word = unit.upper().removesuffix("S")
    if word in _AGES:
        return within(float(_digits(number) * _AGES[word]), 1, 1e10)
    return duration(1, 1e10).parse(text)


# In any case of letters: nobody means a thousandth of a byte.
_BYTES = {"": 1, "b": 1} | {
    prefix + unit: int(base**power)
    for power, letter in enumerate("kmgt", 1)
    for prefix, base in ((letter, 1000), (letter + "i", 1024))
    for unit in ("", "b")
}


def size(least: int, most: int) -> Kind[int]:
    """A number of bytes, within bounds."""

    def parse(text: str) -> int:
        number, unit = _split(text)
        return within(_digits(number) * _BYTES[unit.lower()], least, most)

    bounds = f"from {least} to {most} bytes"
    return Kind(f"a size such as 64MiB (2^20) or 1GB (10^9); a bare number is bytes; {bounds}", _known(parse))


def _text(text: str) -> str:
    return text


def _path(text: str) -> str:
    return absolute_path(text)


def _directory(text: str) -> str:
    if "://" in text:
        raise ValueError("a URL is not supported yet")
    return text


def _conninfo(text: str) -> Conninfo:
    if not is_uri(text) and "=" not in text:
        raise ValueError("it is neither of the form key=value nor a URI")
    return Conninfo(text)


def _slot_name(text: str) -> str:
    if 0 < len(text) <= 63 and set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_"):
        return text
    raise ValueError


def _application_name(text: str) -> str:
    if 0 < len(text) <= 63 and text.isascii() and text.isprintable():
        return text
    raise ValueError


LEVEL_WORDS = ("low", "medium", "high")


def _level(text: str) -> int | str:
    """A number, or one of Barman's words, whose meaning depends on the codec."""
    return text.lower() if text.lower() in LEVEL_WORDS else whole(-22, 22).parse(text)


def _schedule(text: str) -> Schedule | None:
    return None if text.lower() == "none" else Schedule.parse(text)


def _policy(text: str) -> RetentionPolicy | None:
    return None if text.lower() == "none" else RetentionPolicy.parse(text)


def _recipients(text: str) -> tuple[str, ...]:
    words = text.replace(",", " ").split()
    for word in words:
        recipient_bytes(word)  # ``Malformed``, which says what is wrong with it, is a ``ValueError``
    if len(set(words)) != len(words):
        raise ValueError("a recipient stands there twice")
    return tuple(words)


SWITCH = Kind("on, off", _on_off)
TEXT = Kind("any text", _text)
PATH = Kind("an absolute path", _path)
DIRECTORY = Kind("a path, absolute or relative to this file", _directory)
# Whoever confuses the two may have written an identity there.
RECIPIENTS = Kind("age recipients (age1...), with commas or spaces between them", _recipients, secret=True)
CONNINFO = Kind("a libpq connection string, key=value or URI", _conninfo, secret=True)
SLOT_NAME = Kind("1 to 63 of the characters a-z, 0-9 and _", _slot_name)
APPLICATION_NAME = Kind("1 to 63 printable ASCII characters", _application_name)
_RANGES = ", ".join(f"{codec} {least} to {most}" for codec, (least, most, _) in LEVELS.items())
SCHEDULE = Kind(
    "none, or five fields such as 0 4 * * * (minute, hour, day, month, day of the week)", _schedule
)
AGE = Kind("an age such as 7 DAYS, 36 HOURS, 2 WEEKS or 1 MONTH; or 90min, 12h, 7d", _age)
POLICY = Kind("none, REDUNDANCY n, or RECOVERY WINDOW OF n HOURS, DAYS, WEEKS or MONTHS", _policy)
LISTEN = Kind("host:port, such as 127.0.0.1:9797, localhost:9797 or [::1]:9797", Listen.parse)
LEVEL = Kind(f"{_RANGES}; or low, medium, high", _level)

N = TypeVar("N", int, float)


def within(number: N, least: float, most: float) -> N:
    """The number itself; ``ValueError`` outside of the bounds."""
    if not least <= number <= most:
        raise ValueError
    return number


def _digits(text: str) -> int:
    if not (0 < len(text) <= 18 and text.isascii() and text.isdecimal()):
        raise ValueError
    return int(text)


def _split(text: str) -> tuple[str, str]:
    unit = text.lstrip("0123456789.")
    return text[: len(text) - len(unit)], unit.strip()


def _known(parse: Callable[[str], T_co]) -> Callable[[str], T_co]:
    """``parse`` with an unknown unit made a ``ValueError``."""

    def checked(text: str) -> T_co:
        try:
            return parse(text)
        except KeyError:
            raise ValueError

    return checked
