"""The small JSON documents of a repository, read key by key.

What is missing or of another type is ``Corrupt`` and names the document and the key; keys that nobody asked
for are kept (``rest``), so that a document written by a newer walstream survives. On the path of ``get-wal``:
there the json module, 7 ms to import, is only needed for documents that we did not write.
"""

from __future__ import annotations

from catalog.errors import Corrupt, RepositoryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
_DAMAGED = "the file was damaged or edited: restore it from a copy of the repository"


class Document:
    """A JSON object of the file ``where``; every method that reads a key marks it as known."""

    def __init__(self, content: Mapping[str, object], where: str, above: str = "") -> None:
        self._content = content
        self._where = where
        self._above = above
        self._known: set[str] = set()

    @classmethod
    def parse(cls, data: bytes, where: str) -> Document:
        """Read the bytes of a file; ``Corrupt`` if they are no JSON object."""
        content = _parse_plain(data)
        return cls(_parse_any(data, where) if content is None else content, where)

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def require_format(self) -> None:
        """Refuse a format that this version does not know."""
        number = self.integer("format")
        if number != FORMAT:
            message = f"{self._where} has format {number}, this version of walstream reads format {FORMAT}"
            raise RepositoryError(message, "use the version of walstream that wrote it, or a newer one")

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def integer(self, key: str) -> int:
        """An integer, never negative: no document has others."""
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.wrong(key, "a number that is not negative")
        return value

    def number(self, key: str) -> float:
        value = self._take(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e300:
            raise self.wrong(key, "a number that is not negative")
        return value

    def flag(self, key: str) -> bool:
        value = self._take(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def below(self, key: str) -> Document:
        """The object under ``key``."""
        return self._object(self._take(key), key)

    def each(self, key: str) -> list[Document]:
        """The objects of the list under ``key``."""
        return [self._object(value, f"{key}[{n}]") for n, value in enumerate(self._list(key))]

    def texts(self, key: str) -> tuple[str, ...]:
        """The strings of the list under ``key``."""
        values = self._list(key)
        texts = tuple(value for value in values if isinstance(value, str))
        if len(texts) != len(values):
            raise self.wrong(key, "a list of strings")
        return texts

    def is_null(self, key: str) -> bool:
        """Whether the value under ``key`` is null; the key must be there."""
        return self._take(key) is None

    def rest(self) -> dict[str, object]:
        """The keys that were not read."""
        return {key: value for key, value in self._content.items() if key not in self._known}

    def wrong(self, key: str, expected: str) -> Corrupt:
        """The error for a value under ``key`` that is not what is expected."""
        return Corrupt(f"{self._where}: {self._above + key!r} is not {expected}", _DAMAGED)

    def _take(self, key: str) -> object:
        self._known.add(key)
        try:
            return self._content[key]
        except KeyError:
            raise Corrupt(f"{self._where}: {self._above + key!r} is missing", _DAMAGED) from None

    def _list(self, key: str) -> list[object]:
        value = self._take(key)
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return value

    def _object(self, value: object, key: str) -> Document:
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Document(value, self._where, f"{self._above}{key}.")


def write_document(content: Mapping[str, object]) -> bytes:
    """The bytes of a document: one key a line, so that people and ``_parse_plain`` can read it."""
    import json  # not at the top: see the head of this module

    return json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _parse_any(data: bytes, where: str) -> dict[str, object]:
    import json  # not at the top: see the head of this module

    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{where} is not JSON: {error}", _DAMAGED) from None
    if not isinstance(content, dict):
        raise Corrupt(f"{where} is not a JSON object", _DAMAGED)
    return content


def _parse_plain(data: bytes) -> dict[str, object] | None:
    """What ``write_document`` made of strings and numbers alone; None for all other bytes."""
    if not data.isascii() or not data.startswith(b"{\n") or not data.endswith(b"\n}\n"):
        return None
    content: dict[str, object] = {}
    for line in data[2:-3].decode("ascii").split(",\n"):
        key, colon, value = line.partition('": ')
        if not colon or not key.startswith('  "') or not _is_plain(key[3:]):
            return None
        if value.isdecimal() and len(value) < 20 and (value == "0" or value[0] != "0"):
            content[key[3:]] = int(value)
        elif len(value) >= 2 and value[0] == value[-1] == '"' and _is_plain(value[1:-1]):
            content[key[3:]] = value[1:-1]
        else:
            return None
    return content


def _is_plain(text: str) -> bool:
    return text.isprintable() and '"' not in text and "\\" not in text
